"""Starts a bundle the way Elastic Beanstalk's Docker platform does on an instance, without Elastic Beanstalk.

What the platform's engine does, as documented and as seen on instances: unpack; run `.platform/hooks/prebuild`
(left out here, they are tested in test_eb_hooks.py); build the Dockerfile, or pull the image of
`Dockerrun.aws.json`; start the container with its volumes and all environment properties, publishing no port;
put `.platform/nginx` into nginx's configuration, check it, and let nginx on port 80 pass everything to the
container's first port.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A site that mirrors images names its own.
NGINX_IMAGE = os.environ.get("NGINX_IMAGE", "nginx:1.28-alpine")

# The platform's own files, reduced to what bears on requests.
_NGINX = """\
worker_processes auto;
error_log /dev/stderr;
pid /tmp/nginx.pid;
events { worker_connections 1024; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log off;
    include conf.d/*.conf;
    map $http_upgrade $connection_upgrade { default "upgrade"; }
    server {
        listen 80 default_server;
        gzip on;
        gzip_comp_level 4;
        gzip_types text/plain text/css application/json application/javascript application/x-javascript
                   text/xml application/xml application/xml+rss text/javascript;
        location / {
            proxy_pass http://docker;
            proxy_http_version 1.1;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }
        include conf.d/elasticbeanstalk/*.conf;
    }
}
"""
_UPSTREAM = "upstream docker {{ server {address}:{port}; keepalive 256; }}\n"


@dataclass(frozen=True)
class Instance:
    """A running deployment: where its port 80 is, and its two containers."""

    url: str
    application: Any
    proxy: Any


@dataclass(frozen=True)
class Unpacked:
    """A bundle on disk: its folder, the image to run, the port, volumes as host folder -> container folder."""

    folder: Path
    image: str | None
    port: int
    volumes: Mapping[str, str]


def unpack(bundle: Path, folder: Path) -> Unpacked:
    """Unzip, with modes, and read what to run as the engine does."""
    with zipfile.ZipFile(bundle) as archive:
        for info in archive.infolist():
            path = Path(archive.extract(info, folder))
            path.chmod((info.external_attr >> 16) & 0o777)
    described = folder / "Dockerrun.aws.json"
    dockerfile = folder / "Dockerfile"
    assert described.is_file() or dockerfile.is_file(), "Both 'Dockerfile' and 'Dockerrun.aws.json' are missing"
    document = json.loads(described.read_text()) if described.is_file() else {}
    if document:
        assert str(document["AWSEBDockerrunVersion"]) == "1"
    volumes = {one["HostDirectory"]: one["ContainerDirectory"] for one in document.get("Volumes", [])}
    if dockerfile.is_file():
        port = re.search(r"^EXPOSE\s+(\d+)", dockerfile.read_text(), re.MULTILINE)
        assert port is not None, "no EXPOSE directive found in Dockerfile, abort deployment"
        return Unpacked(folder, None, int(port[1]), volumes)
    return Unpacked(folder, document["Image"]["Name"], int(document["Ports"][0]["ContainerPort"]), volumes)


@contextlib.contextmanager
def deployed(
    engine: Any, unpacked: Unpacked, properties: Mapping[str, str], host: Path, image: str | None = None
) -> Iterator[Instance]:
    """Run an unpacked bundle until the block ends.

    Parameters
    ----------
    properties : environment properties
    host : folder that plays the instance's root, for the volumes
    image : image to run in place of the one that is named, as nothing can be pulled here
    """
    with contextlib.ExitStack() as stack:
        volumes = {f"{host}{outside}": {"bind": inside, "mode": "rw"} for outside, inside in unpacked.volumes.items()}
        for outside in volumes:
            Path(outside).mkdir(parents=True, exist_ok=True)
        application = engine.containers.run(
            image or unpacked.image, detach=True, environment=dict(properties), volumes=volumes
        )
        stack.callback(application.remove, force=True, v=True)
        application.reload()
        address = application.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        proxy = _proxy(engine, stack, unpacked, _UPSTREAM.format(address=address, port=unpacked.port))
        proxy.reload()
        published = proxy.attrs["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
        yield Instance(f"http://127.0.0.1:{published}", application, proxy)


def _proxy(engine: Any, stack: contextlib.ExitStack, unpacked: Unpacked, upstream: str) -> Any:
    """nginx with the platform's configuration and the bundle's; checked before it is started."""
    files = {"nginx.conf": _NGINX, "conf.d/elasticbeanstalk-nginx-docker-upstream.conf": upstream}
    own = unpacked.folder / ".platform" / "nginx"
    files |= {path.relative_to(own).as_posix(): path.read_text() for path in sorted(own.rglob("*")) if path.is_file()}
    script = "nginx -t -c /etc/nginx/eb/nginx.conf && exec nginx -c /etc/nginx/eb/nginx.conf -g 'daemon off;'"
    proxy = engine.containers.create(
        NGINX_IMAGE, entrypoint=["sh", "-c", script], ports={"80/tcp": ("127.0.0.1", None)}
    )
    stack.callback(proxy.remove, force=True, v=True)
    proxy.put_archive("/etc/nginx", _archive({f"eb/{name}": text for name, text in files.items()}))
    proxy.start()
    return proxy


def _archive(files: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()
