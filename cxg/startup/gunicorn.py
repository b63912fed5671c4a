"""Gunicorn's command line and environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from cxg.memory import MemoryPlan
from cxg.startup.prepared import Prepared

# A request line holds the query; the web client moves longer gene sets into a body at 2,000 characters.
_REQUEST_LINE_BYTES = 8190
# Above the longest request that is normal, below what Docker and Elastic Beanstalk wait.
_GRACEFUL_TIMEOUT_S = 25
# A load balancer or nginx in front keeps connections for 60 s; ours must outlive theirs.
_KEEPALIVE_S = 75


def gunicorn_command(host: str, port: int, workers: int, threads: int) -> list[str]:
    """Return the command that serves `cxg.web.wsgi:app`; its configuration travels in the environment.

    The application is loaded before the fork, so workers share its memory; threads, because
    reading and compressing release Python's lock.
    """
    return [
        *(sys.executable, "-m", "gunicorn", "cxg.web.wsgi:app", "--preload"),
        *("--bind", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"),
        *("--workers", str(workers), "--worker-class", "cxg.worker.BufferingWorker", "--threads", str(threads)),
        *("--worker-tmp-dir", "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"),  # noqa: S108
        *("--keep-alive", str(_KEEPALIVE_S), "--graceful-timeout", str(_GRACEFUL_TIMEOUT_S), "--timeout", "120"),
        *("--limit-request-line", str(_REQUEST_LINE_BYTES)),
        # The path prefix comes in X-Forwarded-Prefix; gunicorn's own SCRIPT_NAME and PATH_INFO headers stay unread.
        *("--forwarded-allow-ips", "*", "--forwarder-headers", ""),
        *("--no-control-socket", "--log-level", "warning"),
    ]


def server_environment(env: Mapping[str, str], prepared: Prepared, plan: MemoryPlan) -> dict[str, str]:
    """Turn what is prepared into the environment of gunicorn; `cxg.web.wsgi.read_back` reads it again.

    To `env` come the data, the secret key and the region that were found, the memory plan, and thread pools that fit
    many threads on few cores.
    """
    # One thread for numpy's own linear algebra (which is not used), and few arenas for all threads of a
    # worker: both otherwise take memory for each thread.
    quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    # The GNU C library keeps some freed memory for the next answer, because mapping pages anew takes longer than
    # filling them. Blocks of the first size or more are given back at once, others when the second amount is free.
    quiet |= {"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 20)}
    shares = {
        "CXG_MEMORY_MB": str(plan.total_mb),
        "CXG_WORKERS": str(plan.workers),
        "CXG_THREADS": str(plan.threads),
    }
    found: dict[str, str | None] = {
        prepared.data.variable: prepared.path,
        "CXG_CONFIG_FILE": prepared.config_file,
        "CXG_AWS_SECRET_NAME": None,  # asked already; the workers need no way to it
    }
    if prepared.region:
        found["AWS_REGION"] = prepared.region
    if prepared.secret is not None:
        found["CXG_SECRET_KEY"] = prepared.secret.value
    together = {**quiet, **env, **found, **shares}
    return {name: value for name, value in together.items() if value is not None}
