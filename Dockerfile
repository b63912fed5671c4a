# The server's image. `python build.py image` builds it and checks it; `docker build .` gives the same.
# Works with the classic builder and with BuildKit.
#
# What changes least comes first: base, packages, web client, our code, the site's overlays, labels.
# Sites that mirror images name their own base: --build-arg BASE_IMAGE=...
ARG BASE_IMAGE=python:3.13-slim-trixie

# --- the web client: build/client when it was supplied, else fetched by version and sha256
FROM ${BASE_IMAGE} AS client
WORKDIR /work
COPY build.py ./
COPY assembly/ assembly/
# Of several sources one may be missing: build/client need not be there.
COPY build.py buil[d]/client supplied/
RUN rm supplied/build.py \
 && if [ -f supplied/stamp.json ]; then mkdir build && mv supplied build/client; fi \
 && if [ -f supplied/index.html ]; then python build.py client --client supplied; else python build.py client; fi

# --- the packages, every one checked by hash; wheels only, so that nothing is compiled
FROM ${BASE_IMAGE} AS wheels
COPY requirements.txt /tmp/
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --only-binary :all: \
        --require-hashes -r /tmp/requirements.txt
# The packages' own tests, and what only compiling and debugging need, have no place on a server.
COPY assembly/shrink.py /tmp/
RUN cd /opt/venv/lib/python3*/site-packages \
 && find scipy numpy h5py tiledb -type d \( -name tests -o -name include \) -prune -exec rm -rf {} + \
 && find . \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' -o -name '*.h' -o -name '*.cc' \
        -o -name 'examples-1.json*' \) -delete \
 && rm -f zstandard/_cffi*.so zstandard/backend_cffi.py \
 && python /tmp/shrink.py hdf5plugin/plugins/*.so zstandard/*.so yaml/*.so cryptography/hazmat/bindings/*.so \
        $(find scipy -name '*.so') \
 # Pillow draws PNGs alone, without text.
 && rm -f PIL/_avif*.so PIL/_imagingft*.so PIL/_imagingcms*.so PIL/_webp*.so \
        pillow.libs/libavif* pillow.libs/libharfbuzz* pillow.libs/libfreetype* pillow.libs/liblcms2* pillow.libs/libbrotli* \
 # Nothing imports these parts; compiled they take 22 MB more.
 && for part in cluster constants fft fftpack integrate interpolate io ndimage optimize signal spatial stats; do \
        find scipy/$part -name __pycache__ -prune -exec rm -rf {} +; done \
 # rich colours source code with pygments, which nothing here shows; cffi reads C with pycparser, only to compile.
 && rm -rf flit_core* examples external pygments pycparser scipy/odr scipy/datasets /opt/venv/include \
 # A site's packages come last on the path: they cannot replace one of ours.
 && echo /app/packages >site_packages.pth \
 && printf '#!/opt/venv/bin/python\nimport sys\n\nfrom cxg.cli.main import main\n\nsys.exit(main())\n' >/opt/venv/bin/cxg \
 && chmod 755 /opt/venv/bin/cxg

# --- the site's own files, checked, and the packages its plugins need
FROM wheels AS site
WORKDIR /work
COPY build.py requirements.txt ./
COPY assembly/ assembly/
COPY customize/ customize/
ARG COMMIT=unknown
RUN /opt/venv/bin/python build.py customize --out /site/customize --commit "$COMMIT" \
 && mkdir -p /site/packages \
 && if [ -f /site/customize/requirements.txt ]; then \
        pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --only-binary :all: \
            --no-deps --target /site/packages -r /site/customize/requirements.txt \
        && PYTHONPATH=/site/packages pip --python /opt/venv/bin/python --disable-pip-version-check check; \
    fi

# --- our code, compiled ahead, as the file system may be read-only
FROM wheels AS code
COPY entrypoint.py LICENSE /app/
COPY cxg/ /app/cxg/
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /app

# --- what runs
FROM ${BASE_IMAGE} AS server
# Debian packages to add, for example a FUSE client: --build-arg APT_PACKAGES="rclone fuse3"
ARG APT_PACKAGES=""
RUN if [ -n "$APT_PACKAGES" ]; then \
        apt-get update && apt-get install -y --no-install-recommends $APT_PACKAGES && rm -rf /var/lib/apt/lists/*; \
    fi \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cxg
COPY --from=wheels /opt/venv /opt/venv
COPY --from=client /work/build/client /app/client
COPY --from=code /app /app
COPY --from=site /site/packages /app/packages
COPY --from=site /site/customize /app/customize
WORKDIR /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CXG_HOST=0.0.0.0 \
    CXG_PORT=8000 \
    CXG_CLIENT_DIR=/app/client \
    CXG_DEPLOY_DIR=/app/customize/deploy \
    CXG_INLINE_SCRIPTS_DIR=/app/customize/inline_scripts \
    CXG_PLUGINS_DIR=/app/customize/plugins
USER 10001:10001
EXPOSE 8000
# A bare socket: curl is not in the base, and loading an HTTP library every few seconds costs more than the check.
HEALTHCHECK --interval=5s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import os, socket; s = socket.create_connection(('127.0.0.1', int(os.environ['CXG_PORT'])), 4); s.sendall(b'GET /health/live HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in s.recv(64))"]
ENTRYPOINT ["python", "/app/entrypoint.py"]

# --- the server with a sample dataset to put into a bucket; compose.yaml uses it once
FROM client AS sample
RUN python build.py sample --h5ad-only --h5ad-dir /sample

FROM server AS seed
COPY --from=sample /sample /sample
COPY assembly/seed.py /app/seed.py
ENTRYPOINT ["python", "/app/seed.py"]
HEALTHCHECK NONE

# --- the last stage is what `docker build .` makes
FROM server
ARG VERSION=unknown
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="cellxgene-eb" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.licenses="MIT"
