# SPDX-License-Identifier: Apache-2.0
"""What a mediator tells as metrics, parsed as Prometheus parses it where prometheus_client is installed."""
import re

import control

SAMPLE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Metrics:
    """One text. Samples by name and labels."""

    def __init__(self, text):
        self.text = text
        self.samples, self.kinds = {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.kinds, f"{name} comes twice"
                self.kinds[name] = kind
                family = name
            elif not line.startswith("#"):
                name, labels, value = SAMPLE.match(line).groups()
                assert re.sub("_(bucket|sum|count)$", "", name) == family or name == family, line
                key = name, tuple(sorted(LABEL.findall(labels or "")))
                assert "".join(f'{k}="{v}",' for k, v in LABEL.findall(labels or "")) == (labels + "," if labels else "")
                assert key not in self.samples, f"{line}: twice"
                self.samples[key] = float(value)

    def get(self, name, /, **labels):
        """The sum of the samples with these labels; None: there are none."""
        found = [v for (n, ls), v in self.samples.items()
                 if n == name and all(dict(ls).get(k) == str(w) for k, w in labels.items())]
        return sum(found) if found else None

    def counters(self):
        """All that must never fall."""
        return {key: value for key, value in self.samples.items()
                if self.kinds.get(key[0]) == "counter"
                or (key[0].endswith(("_bucket", "_sum", "_count")) and key[0] not in self.kinds)}

    def check_histograms(self):
        for name in (n for n, kind in self.kinds.items() if kind == "histogram"):
            rows = {}
            for (n, labels), value in self.samples.items():
                if n == name + "_bucket":
                    own = dict(labels)
                    rows.setdefault(tuple(l for l in labels if l[0] != "le"), []).append((float(own["le"]), value))
            for labels, buckets in rows.items():
                values = [v for _, v in sorted(buckets)]
                assert values == sorted(values) and sorted(buckets)[-1][0] == float("inf")
                assert values[-1] == self.samples[name + "_count", labels]


def read(mediator):
    """Asks the control socket; checks the text by Prometheus' own parser if there is one."""
    with control.connect(mediator) as c:
        m = Metrics(c.do("metrics")["text"])
    m.check_histograms()
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError:
        return m
    theirs = {(s.name, tuple(sorted(s.labels.items()))): s.value
              for family in text_string_to_metric_families(m.text) for s in family.samples}
    assert len(theirs) == len(m.samples)
    return m


def never_fell(before, after, but=()):
    """Counters of tenants and pools; those of the mediator's process begin with it, and the GPU's with them."""
    for key, value in before.counters().items():
        name, labels = key
        if dict(labels).keys() & {"id", "pool"} and dict(labels).get("id") not in but:
            assert after.samples[key] >= value, (key, value, after.samples[key])
