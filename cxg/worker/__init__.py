"""The gunicorn worker that serves the site: slow clients wait in its loop, never in a thread.

gunicorn's threaded worker gives a thread to a connection as soon as bytes arrive. The thread then waits for
the rest of the request, and until the client has taken the answer, so a few dozen slow clients occupy all
threads. Here one loop receives the requests and sends the answers that a socket does not accept at once;
threads only make answers.

- `limits`: the time and the bytes that a client may use, each with its reason
- `client_socket`: the socket that gunicorn's parser and response see
- `connection`: the received part of a request, and the rest of its answer
- `pace`: measures how fast bytes move
- `receiving`, `sending`: count the bytes of requests and answers in memory
- `connections`: the connections by address; chooses one to close when there are too many
- `loop`, `worker`: accept and close connections; receive, dispatch and send
"""

from cxg.worker.worker import BufferingWorker

__all__ = ["BufferingWorker"]
