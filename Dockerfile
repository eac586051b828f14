# syntax=docker/dockerfile:1

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY . .
ARG RELEASE=
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X main.release=${RELEASE}" -o /out/truestock ./cmd/truestock
# What an empty image lacks: the root certificates, a user, a folder that the user may write. Time zones are in the binary.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && printf 'truestock:x:65532:65532::/data:/sbin/nologin\n' >/out/passwd \
    && printf 'truestock:x:65532:\n' >/out/group \
    && mkdir /out/data

FROM scratch
LABEL org.opencontainers.image.title="truestock" \
      org.opencontainers.image.description="Keeps what marketplaces offer true to what the warehouse has" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/passwd /out/group /etc/
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/truestock /truestock
# Everything that is written, SQLite's temporary files included, goes under /data: the root may be read-only.
ENV TMPDIR=/data \
    TRUESTOCK_CONFIG=/etc/truestock/truestock.yaml
# Numbers, so that a cluster can see that this is not root.
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/truestock", "check", "--health"]
ENTRYPOINT ["/truestock"]
CMD ["serve"]
