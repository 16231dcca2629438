# mrdaemon in a container: nobody's user, a root file system that nothing is written to, and all state in one volume.
# docs/docker.md says how to run it; compose.yaml does, with an MQTT broker beside it.

# The one place where the base is named. A tag can be moved; whoever wants to build from the same bytes for ever adds the
# digest: --build-arg PYTHON=python:3.13.5-slim-bookworm@sha256:... (docs/docker.md says how to find it).
ARG PYTHON=python:3.13.5-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini=0.19.0-* \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src

# What mrdaemon needs comes first: it changes less often than mrdaemon. Only wheels whose hashes are known are taken, so
# that nothing of theirs is run here; and the environment gets no pip, so that nothing can be added to it later.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv --without-pip /opt/mrdaemon \
 && python -m pip --python /opt/mrdaemon/bin/python install \
      --require-hashes --only-binary :all: --requirement requirements/runtime.txt
RUN python -m venv /opt/build \
 && /opt/build/bin/python -m pip install --require-hashes --only-binary :all: --requirement requirements/build.txt

COPY pyproject.toml README.md LICENSE ./
COPY mrdaemon mrdaemon
RUN /opt/build/bin/python -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir wheels . \
 && python -m pip --python /opt/mrdaemon/bin/python install --no-index --no-deps wheels/*.whl

FROM ${PYTHON}
LABEL org.opencontainers.image.title="mrdaemon" \
      org.opencontainers.image.description="Keeps every position near a fixed dollar target, live, per print" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /usr/bin/tini-static /usr/local/bin/tini
COPY --from=build /opt/mrdaemon /opt/mrdaemon

# A number that no user of the host is likely to have. Without secrets their folder is there, too, and empty.
RUN groupadd --gid 10001 mrdaemon \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/mrdaemon --shell /usr/sbin/nologin mrdaemon \
 && install --directory --mode 0700 --owner 10001 --group 10001 /var/lib/mrdaemon \
 && install --directory --mode 0755 /etc/mrdaemon /run/secrets
ENV PATH=/opt/mrdaemon/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/var/lib/mrdaemon \
    PYTHONDONTWRITEBYTECODE=1 \
    MRDAEMON_CONFIG=/etc/mrdaemon/mrdaemon.toml \
    MRDAEMON_SECRETS_DIR=/run/secrets \
    STATE_DIRECTORY=/var/lib/mrdaemon
VOLUME /var/lib/mrdaemon
WORKDIR /var/lib/mrdaemon
USER 10001:10001

# A halt, a lost account or a quiet market is not unhealthy: starting anew would mend none of them.
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s --retries=3 CMD ["mrdaemon", "health"]

# tini hands signals on and buries what is orphaned, also where it is not process 1 (-s). Exit codes are mrdaemon's.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "-s", "--", "mrdaemon"]
CMD ["run"]
