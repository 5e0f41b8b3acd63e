# SPDX-License-Identifier: Apache-2.0
"""CloudStack's agent of agent.groovy, which says what its verbs take and answer: one JVM for many requests. It asks one at a
time."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
GROOVY, GSON = pathlib.Path("/usr/share/groovy/lib"), pathlib.Path("/usr/share/java/gson.jar")


def missing():
    """Why it cannot run here, or None."""
    if not shutil.which("java"):
        return "no java (./dev setup --cloudstack)"
    if not GSON.exists() or not list(GROOVY.glob("groovy-2*.jar")):
        return "no groovy or gson (./dev setup --cloudstack)"
    return None


class Agent:
    def __init__(self, locale="C.UTF-8"):
        self.process = subprocess.Popen(
            ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", f"{GROOVY}/*:{GSON}", "groovy.ui.GroovyMain",
             str(HERE / "agent.groovy")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": locale})

    def ask(self, verb, **fields):
        self.process.stdin.write(json.dumps({"verb": verb, **fields}).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the agent ended: {self.process.wait(10)}"
        answer = json.loads(line)
        assert "fault" not in answer, answer
        return answer

    def discover(self, script, **kw):
        return self.ask("discover", script=str(script), **kw)

    def transform(self, hooks, xml, **kw):
        return self.ask("transform", hooks=str(hooks), xml=xml, **kw)

    def on_start(self, hooks, name, **kw):
        return self.ask("on_start", hooks=str(hooks), name=name, **kw)

    def on_stop(self, hooks, name, **kw):
        return self.ask("on_stop", hooks=str(hooks), name=name, **kw)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def running(**kw):
    a = Agent(**kw)
    try:
        yield a
    finally:
        a.close()
