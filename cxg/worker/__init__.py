"""The gunicorn worker that serves the site: slow clients wait in its loop, never in a thread.

gunicorn's threaded worker gives a thread to a connection as soon as bytes arrive, and the thread waits
for the rest of the request and until the answer is taken. A few dozen clients that do either slowly leave
no thread for anybody else. Here one loop receives requests and sends what a socket does not take at once;
a thread parses nothing and waits for nobody, it only makes answers.

- `limits`: how long and how much a client may take, each with its reason
- `client_socket`: a connection as gunicorn's parser and response see it
- `connection`: what has been received of a request, and what is left of an answer
- `pace`: how fast bytes move
- `receiving`, `sending`: how much of requests and answers is in memory
- `connections`: the connections by address, and whom to close when there are too many
- `loop`, `worker`: how connections come and go, and what is done with their bytes
"""

from cxg.worker.worker import BufferingWorker

__all__ = ["BufferingWorker"]
