"""The worker with limits that fit a test."""

from __future__ import annotations

from cxg.worker import BufferingWorker
from cxg.worker.limits import ClientLimits

SMALL = {"spool_bytes": 64 << 10, "receiving_bytes": 512 << 10, "sending_bytes": 12 << 20, "patience_s": 0.05}
SHORT = {"recent_s": 0.2, "linger_s": 0.3, "stopping_s": 0.3, "tick_s": 0.05}


class PatientWorker(BufferingWorker):
    """Waits for slow clients longer than any test."""

    limits = ClientLimits(header_s=600, stall_s=600, **SMALL, **SHORT)


class HoldingWorker(PatientWorker):
    """Holds refusals back longer than any test, three at a time."""

    limits = ClientLimits(header_s=600, stall_s=600, refused_s=600, most_refused=3, **SMALL, **SHORT)


class StrictWorker(BufferingWorker):
    """Has no patience."""

    limits = ClientLimits(header_s=0.5, stall_s=0.5, refused_s=0.1, **SMALL, **SHORT)
