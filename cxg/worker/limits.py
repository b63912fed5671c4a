"""The time and the bytes that one client, and all clients together, may use."""

from __future__ import annotations

from dataclasses import dataclass

from cxg.memory_bounds import RECEIVING_MB, SENDING_MB


@dataclass(frozen=True)
class ClientLimits:
    """Durations in seconds, amounts in bytes; constants, except that tests make them small.

    Attributes
    ----------
    header_s : float
        From the first byte of a request to the end of its header. A browser takes milliseconds, a poor line seconds;
        nginx and Apache allow 20 to 60.
    stall_s, least_rate : float, int
        The worker gives up a body or an answer that moves fewer than `stall_s * least_rate` bytes within `stall_s`;
        1 kB/s is less than a modem carries.
    recent_s : float
        Window in which the recent rate is measured; no client counts as slow before it is over.
    pressed_rate : int
        Bytes a second below which a client is closed while others need its place or memory.
    crowded_rate : int
        The same while more than half of the threads wait for room for their answers.
    spool_bytes : int
        Bytes of a body received before a thread gets it; more than comparisons of 200,000 cells send.
    receiving_bytes : int
        Bytes of requests that are incomplete or wait for a thread, all connections together. One request at a time may
        exceed it, so that not all wait for each other: `receiving_bytes + 2 * spool_bytes` at most.
    sending_bytes : int
        Bytes of answers that wait for their clients, each body counted once.
    patience_s : float
        Time that a thread stays with an answer that its client is taking; a quarter of the threads at most.
    stream_bytes : int
        Bytes of a streamed answer that may wait before the next piece is made.
    held_threads : int
        Threads that may wait for slow clients: bodies beyond `spool_bytes`, streamed answers.
    linger_s, linger_bytes : float, int
        Time and bytes in which a client may still send after the last answer. Closing at once would reset the
        connection and lose the answer.
    refused_s, most_refused : float, int
        Time that a refusal (429) is held back, and most refusals held back at a time; beyond, the oldest is sent.
        Clients that ask again at once would otherwise keep the processors busy with refusals.
    stopping_s : float
        Time that kept-alive connections get when the worker stops.
    unsent_bytes : int
        Bytes of each answer that the system keeps beyond the client's receive window; its own bound is megabytes for
        every connection.
    unacknowledged_s : int
        Time after which the system drops a peer that has vanished.
    spare_descriptors : int
        File descriptors left for files, datasets and S3.
    tick_s : float
        Time between two checks of all connections.
    """

    header_s: float = 20.0
    stall_s: float = 20.0
    least_rate: int = 1000
    recent_s: float = 1.0
    pressed_rate: int = 256 << 10
    crowded_rate: int = 2 << 20
    spool_bytes: int = (RECEIVING_MB << 20) * 3 // 8
    receiving_bytes: int = (RECEIVING_MB << 20) // 4
    sending_bytes: int = SENDING_MB << 20
    patience_s: float = 0.5
    stream_bytes: int = 1 << 20
    held_threads: int = 2
    linger_s: float = 2.0
    linger_bytes: int = 64 << 10
    refused_s: float = 2.0
    most_refused: int = 64
    stopping_s: float = 2.0
    unsent_bytes: int = 256 << 10
    unacknowledged_s: int = 60
    spare_descriptors: int = 32
    tick_s: float = 1.0
