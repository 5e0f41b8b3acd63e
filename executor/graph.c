// SPDX-License-Identifier: Apache-2.0
// Executable graphs: the handlers of graph_*. Called by the generated dispatch in an executor.
#include "executor/executor.h"
#include "protocol/cuda/cuda_abi.h"

int32_t on_graph_create(struct executor *x, const struct record_graph_create *r, struct graph **ret_graph,
			struct blob *blob, struct reply_graph_create *ret)
{
	(void)x;
	(void)r;
	(void)ret_graph;
	(void)blob;
	(void)ret;
	return CUDA_ERROR_NOT_SUPPORTED;
}

int32_t on_graph_destroy(struct executor *x, const struct record_graph_destroy *r, struct graph *graph)
{
	(void)x;
	(void)r;
	(void)graph;
	return CUDA_ERROR_NOT_SUPPORTED;
}

int32_t on_graph_set(struct executor *x, const struct record_graph_set *r, struct graph *graph,
		     const uint8_t *tail, uint32_t tail_bytes)
{
	(void)x;
	(void)r;
	(void)graph;
	(void)tail;
	(void)tail_bytes;
	return CUDA_ERROR_NOT_SUPPORTED;
}

int32_t on_graph_upload(struct executor *x, const struct record_graph_upload *r, struct stream *stream,
			struct graph *graph)
{
	(void)x;
	(void)r;
	(void)stream;
	(void)graph;
	return CUDA_ERROR_NOT_SUPPORTED;
}

int32_t on_graph_launch(struct executor *x, const struct record_graph_launch *r, struct stream *stream,
			struct graph *graph)
{
	(void)x;
	(void)r;
	(void)stream;
	(void)graph;
	return CUDA_ERROR_NOT_SUPPORTED;
}
