# The image holds one virtual environment, installed from the lock by hash, and its bytecode. It runs as a numeric user,
# writes to /data alone, and needs no root file system that can be written:
#
#   docker build -t reckon .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges \
#     -v reckon-data:/data -v ./config.toml:/etc/reckon/config.toml:ro reckon
#
# A tag moves: this one is built anew whenever Debian mends something. For a build that is the same tomorrow name the
# digest, which `docker buildx imagetools inspect python:3.13.16-slim-trixie` prints first, and renew it now and then:
#
#   docker build --build-arg PYTHON_IMAGE=python:3.13.16-slim-trixie@sha256:... -t reckon .
ARG PYTHON_IMAGE=python:3.13.16-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

COPY requirements.lock ./
RUN python -m venv --without-pip /opt/reckon \
    && python -m pip --python /opt/reckon/bin/python install \
        --require-hashes --only-binary :all: --no-compile -r requirements.lock

# What builds a wheel comes from a lock too. Should it ever need a package that is not named here, pip refuses and says
# which, because that one has no hash.
COPY requirements-dev.lock ./
RUN awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
        requirements-dev.lock > build.lock \
    && python -m pip install --require-hashes --only-binary :all: --target /opt/build -r build.lock

COPY pyproject.toml README.md LICENSE ./
COPY reckon reckon
RUN PYTHONPATH=/opt/build python -m hatchling build --target wheel --directory /opt/wheels \
    && python -m pip --python /opt/reckon/bin/python install --no-deps --no-index --no-compile /opt/wheels/*.whl

# Where nothing can be written no bytecode is kept, and the official image ships Python's own library without any, which
# makes every start and every health check half as long again. So all of it is compiled here, into a tree of its own.
RUN library="$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && PYTHONPYCACHEPREFIX=/opt/reckon/bytecode /opt/reckon/bin/python -m compileall -q -j 0 \
        --invalidation-mode unchecked-hash -x "$library/(site-packages|test|idlelib|lib2to3)/" \
        "$library" /opt/reckon/lib \
    && mkdir /opt/data

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/reckon /opt/reckon
COPY --from=build --chown=10001:10001 /opt/data /data
ENV PATH=/opt/reckon/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/reckon/bytecode \
    RECKON_CONFIG=/etc/reckon/config.toml \
    STATE_DIRECTORY=/data
WORKDIR /data
VOLUME /data
USER 10001:10001
# `http.listen` is loopback unless it is set: the health check runs inside. Beyond it goes only what also has a token.
EXPOSE 8787
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=3 CMD ["reckon", "health"]
ENTRYPOINT ["reckon"]
CMD ["run"]
