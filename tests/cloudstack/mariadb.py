# SPDX-License-Identifier: Apache-2.0
"""A MariaDB of our own in a folder, which only we can connect to."""
import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess

import vgpu

try:
    import pymysql
except ImportError:
    pymysql = None

INSTALL, SERVER = "mariadb-install-db", "/usr/sbin/mariadbd"


def missing():
    """Why there can be none here, or None."""
    if not pymysql:
        return "no python3-pymysql (./dev setup --cloudstack)"
    if not shutil.which(INSTALL) or not os.access(SERVER, os.X_OK):
        return "no mariadb-server-core (./dev setup --cloudstack)"
    return None


def connect(socket, **kw):
    return pymysql.connect(unix_socket=str(socket), user="root", autocommit=True, cursorclass=pymysql.cursors.DictCursor, **kw)


@contextlib.contextmanager
def running(directory):
    """Yields its socket."""
    directory = pathlib.Path(directory)
    data, socket, log = directory / "data", directory / "db.sock", directory / "log"
    common = [f"--datadir={data}", f"--user={pwd.getpwuid(os.getuid()).pw_name}"]
    # For each: no file of the system's configuration is read.
    subprocess.run([INSTALL, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", *common],
                   stdout=subprocess.DEVNULL, check=True)
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [SERVER, "--no-defaults", *common, f"--socket={socket}", f"--pid-file={directory}/pid", "--skip-networking",
             "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def answers():
        assert process.poll() is None, log.read_text(errors="replace")
        with contextlib.suppress(pymysql.err.OperationalError):
            connect(socket).close()
            return True
        return False

    try:
        vgpu.wait_for(answers, 60, "MariaDB")
        yield socket
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
