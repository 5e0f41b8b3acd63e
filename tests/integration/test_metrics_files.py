# SPDX-License-Identifier: Apache-2.0
"""What is written about metrics elsewhere (documentation, dashboard, alert rules) is about those that the mediator
has, with labels that they have."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import vgpu

yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")

SOURCE = pathlib.Path(os.environ.get("VGPU_SOURCE", pathlib.Path(__file__).parents[2]))
RULES = SOURCE / "packaging/prometheus/vgpu.rules.yml"
BOARD = SOURCE / "packaging/grafana/vgpu.json"
BEGIN, END = "<!-- vgpu-mediator --help-metrics -->\n", "<!-- end -->\n"
OTHERS = {"up": {"job", "instance"}}  # Prometheus' own
WORDS = {"sum", "avg", "rate", "increase", "changes", "histogram_quantile", "by", "and", "label_values"}


def help_text():
    return subprocess.run([vgpu.MEDIATOR, "--help-metrics"], check=True, capture_output=True, text=True).stdout


def table():
    """{name: labels} as Prometheus sees them."""
    found = dict(OTHERS)
    for line in help_text().splitlines():
        if not line.startswith("| `"):
            continue
        name, kind, _, labels, _, _ = (c.strip() for c in line.strip("|").split(" | "))
        own = {l for l in labels.split(", ") if l} | {"instance", "job"}
        name = name.strip("` ")
        if kind == "histogram":
            found |= {name + "_bucket": own | {"le"}, name + "_sum": own, name + "_count": own}
        else:
            found[name] = own
    return found


def faults_of(expression, known):
    """What an expression names that is not there: metrics, and labels that the metric before the brace has not."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    plain = re.sub(r"\[[^\]]*\]", "", plain)
    faults = []
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", plain):
        faults += [f"{name}{{{label}}}" for label in re.findall(r"(\w+)\s*[=!]", matchers)
                   if label not in known.get(name, {label})]
    grouped = [l for ls in re.findall(r"by \(([^)]*)\)", plain) for l in re.split(r",\s*", ls)]
    rest = re.sub(r"by \([^)]*\)|\{[^}]*\}", "", plain)
    names = [n for n in re.findall(r"[A-Za-z_]\w*", rest) if n not in WORDS]
    metrics = [n for n in names if n in known]
    faults += [n for n in names if n not in known and not (plain.startswith("label_values") and n == names[-1])]
    faults += [f"by ({l})" for l in grouped if not any(l in known[m] for m in metrics)]
    return faults if metrics else faults + [f"no metric in {expression}"]


def test_the_check_itself_finds_faults():
    known = {"vgpu_a_total": {"tenant", "instance"}, "vgpu_h_bucket": {"le"}}
    assert not faults_of('sum by (tenant) (rate(vgpu_a_total{tenant="x"}[5m])) > 1', known)
    assert faults_of("rate(vgpu_b_total[5m])", known) == ["vgpu_b_total", "no metric in rate(vgpu_b_total[5m])"]
    assert faults_of('vgpu_a_total{gpu="x"}', known) == ["vgpu_a_total{gpu}"]
    assert faults_of("sum by (pool) (vgpu_a_total)", known) == ["by (pool)"]
    assert faults_of("histogram_quantile(0.9, vgpu_h)", known)[0] == "vgpu_h"


def test_documentation_is_the_table():
    page = (SOURCE / "docs/metrics.md").read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    have = page.split(BEGIN)[1].split(END)[0]
    assert have.strip() == help_text().strip(), \
        "put what vgpu-mediator --help-metrics prints between the marks of docs/metrics.md"


def rules():
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [r for g in groups for r in g["rules"]]


def test_rules_are_about_metrics_that_exist():
    known = table()
    for rule in rules():
        assert not faults_of(rule["expr"], known), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert rule["annotations"]["summary"] and len(rule["annotations"]["runbook"]) > 15, rule["alert"]
    names = [r["alert"] for r in rules()]
    assert len(names) == len(set(names)) > 15


def test_summaries_name_labels_that_the_alert_has():
    known = table()
    for rule in rules():
        metrics = [known[n] for n in re.findall(r"\w+", rule["expr"]) if n in known]
        grouped = re.findall(r"by \(([^)]*)\)", rule["expr"])
        has = set(re.split(r",\s*", grouped[0])) if grouped else set.intersection(*metrics)
        used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        assert used <= has, (rule["alert"], used - has)


def promtool(*args, **kw):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (package prometheus)")
    r = subprocess.run(["promtool", *args], capture_output=True, text=True, check=False, **kw)
    assert r.returncode == 0, r.stdout + r.stderr


def test_prometheus_takes_the_rules():
    promtool("check", "rules", RULES)


def test_alerts_fire_and_stay_quiet(tmp_path):
    """In Prometheus' own simulation; packaging/prometheus/vgpu.rules.test.yml says when."""
    shutil.copy(RULES, tmp_path)
    shutil.copy(RULES.with_suffix(".test.yml"), tmp_path)
    promtool("test", "rules", "vgpu.rules.test.yml", cwd=tmp_path)


def test_dashboard_is_about_metrics_that_exist():
    board, known = json.loads(BOARD.read_text(encoding="utf-8")), table()
    panels = [p for p in board["panels"] if p["type"] != "row"]
    for p in panels:
        assert p["title"] and p["description"] and p["targets"], p
        for t in p["targets"]:
            expression = t["expr"].replace("$__rate_interval", "5m")
            assert not faults_of(expression, known), (p["title"], faults_of(expression, known))
            used = set(re.findall(r"\{\{(\w+)\}\}", t["legendFormat"]))
            metrics = [known[n] for n in re.findall(r"\w+", expression) if n in known]
            assert used <= set.union(*metrics), (p["title"], t)
    for v in board["templating"]["list"]:
        if v["type"] == "query":
            assert not faults_of(v["query"]["query"], known), v["name"]
    for a in board["annotations"]["list"]:
        assert not faults_of(a["expr"], known), a["name"]
    assert len(panels) > 20 and len({p["id"] for p in board["panels"]}) == len(board["panels"])


def test_panels_do_not_lie_on_one_another():
    taken = set()
    for p in json.loads(BOARD.read_text(encoding="utf-8"))["panels"]:
        g = p["gridPos"]
        place = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not place & taken and g["x"] + g["w"] <= 24, p["title"]
        taken |= place
