"""How long and how much one client may take, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass

from cxg.memory_bounds import RECEIVING_MB, SENDING_MB


@dataclass(frozen=True)
class Limits:
    """Durations in seconds, amounts in bytes; constants, except that tests make them small.

    Attributes
    ----------
    header_s : from the first byte of a request to the end of its header. A browser takes milliseconds, a poor line
        seconds; nginx and Apache allow 20 to 60
    stall_s, least_rate : a body or an answer that has not moved by `stall_s * least_rate` bytes within that time ends;
        1 kB/s is less than a modem takes
    recent_s : over which the present rate is measured; nobody is called slow before
    pressed_rate : bytes a second below which a client is closed while others need what it takes
    crowded_rate : the same while more than half of the threads wait for room for their answers
    spool_bytes : of a body that are received before a thread is given; more than comparisons of 200,000 cells send
    receiving_bytes : of requests that are incomplete or wait for a thread, all connections together. One request at a
        time may go on beyond it, so that not all wait for each other: `receiving_bytes + 2 * spool_bytes` at most
    sending_bytes : of answers that wait for their clients, each body counted once
    patience_s : a thread stays with an answer that its client is taking; a quarter of the threads at most
    stream_bytes : of an answer made in pieces that may wait before the next piece is asked for
    held_threads : threads that may wait for slow clients: bodies beyond `spool_bytes`, answers made in pieces
    linger_s, linger_bytes : what a client may still send after the last answer. A connection closed at once would be
        reset, and the answer lost with it
    refused_s, most_refused : how long a refusal (429) is held back, and how many are at a time; beyond, the oldest is
        sent. Who asks again at once would otherwise keep the processors busy with being refused
    stopping_s : what kept-alive connections get when the worker stops
    unsent_bytes : of each answer that the system keeps beyond what the client has said it takes; its own bound is
        megabytes for every connection
    unacknowledged_s : after which the system drops a peer that has vanished
    spare_descriptors : for files, datasets and S3
    tick_s : between two looks at all connections
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
