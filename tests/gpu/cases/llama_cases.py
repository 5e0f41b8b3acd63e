# SPDX-License-Identifier: Apache-2.0
"""A Llama-shaped model of transformers with random weights, decoding token by token, and with a static cache in a CUDA
graph."""
import sys
import time

try:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, StaticCache
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases

torch.manual_seed(0)
CONFIG = LlamaConfig(hidden_size=1024, intermediate_size=2816, num_hidden_layers=16, num_attention_heads=16,
                     num_key_value_heads=16, vocab_size=32000, max_position_embeddings=512)
MODEL = LlamaForCausalLM(CONFIG).to("cuda", torch.bfloat16).eval()
PROMPT = torch.arange(1, 17, device="cuda")[None]
TOKENS = 64


@torch.no_grad()
def eager():
    def run():
        return MODEL.generate(PROMPT, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=0)
    run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    out = run()
    torch.cuda.synchronize()
    return {"tokens": out[0].tolist(), "us": (time.perf_counter() - start) / TOKENS * 1e6}


@torch.no_grad()
def in_a_graph():
    cache = StaticCache(config=CONFIG, max_cache_len=256)
    position = torch.arange(16, device="cuda")
    token = MODEL(PROMPT, past_key_values=cache, cache_position=position).logits[:, -1:].argmax(-1)
    where = torch.tensor([16], device="cuda")

    def step():
        logits = MODEL(token, past_key_values=cache, cache_position=where, position_ids=where[None]).logits
        token.copy_(logits[:, -1:].argmax(-1))
        where.add_(1)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(2):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    tokens, start = [], time.perf_counter()
    for _ in range(TOKENS):
        graph.replay()
        tokens.append(token.item())
    return {"tokens": tokens, "us": (time.perf_counter() - start) / TOKENS * 1e6}


cases(eager, in_a_graph)
