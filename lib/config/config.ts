/**
 * The typed configuration that every process is built from.
 *
 * It comes from one `config.yaml` in Quay's documented shape, and from the environment. `load.ts` reads and validates;
 * what stands here is only the result: complete (defaults are filled in) and immutable, so nobody needs to ask twice.
 */

/** Which process is being started; decides which part of the file is kept. */
export type Role = 'gateway' | 'storage-proxy' | 'worker' | 'cli';

/** A host and port to listen on or to connect to. */
export interface Address {
  /** An IPv4 or IPv6 address (without brackets) or a host name. */
  readonly host: string;
  readonly port: number;
}

/** One location (`DISTRIBUTED_STORAGE_CONFIG`), as gateways and workers know it: without its engine's arguments. */
export interface LocationConfig {
  /** For example `usstorage`. */
  readonly name: string;
  /** `host:port` of each of its storage-proxy nodes (`ENTREPOT_LOCATIONS.<name>.nodes`). May be empty in a storage-proxy. */
  readonly nodes: readonly string[];
}

/** The location that a storage-proxy owns, with the arguments that only it may know. */
export interface OwnedLocation {
  readonly name: string;
  /** Quay's driver name, for example `LocalStorage`. */
  readonly driver: string;
  /** The driver's arguments as they stand in the file, checked (engines/engines.ts). Holds credentials: never log it. */
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** How to reach PostgreSQL. */
export interface DatabaseConfig {
  /** `DB_URI`, normalised to `postgresql://…`; may name several hosts, separated by commas. Holds a password: never log it. */
  readonly url: string;
  /** `DB_LISTEN_URI`: where LISTEN works (not through pgbouncer). The same as `url` if absent. */
  readonly listenUrl: string;
  /** `ENTREPOT_DB_POOL_SIZE`: connections per process at most. */
  readonly poolSize: number;
}

/** The paths of a certificate, its key, and the authorities that other certificates must come from. */
export interface CertificatePaths {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** A bearer token of an administrator: only its hash is ever known here. */
export interface AdminToken {
  readonly name: string;
  /** 64 hex digits, lower case. */
  readonly sha256: string;
}

/** How processes make sure of each other over gRPC. */
export interface GrpcConfig {
  /** `ENTREPOT_GRPC_TLS_CA`, `…_CERT`, `…_KEY`; undefined: plain text. */
  readonly tls: CertificatePaths | undefined;
  /** `ENTREPOT_INSECURE_GRPC`: plain text also with other machines. */
  readonly insecure: boolean;
  /** `ENTREPOT_ADMINISTRATORS`: the names in the certificates of those who may administer. */
  readonly administrators: readonly string[];
  /** `ENTREPOT_ADMIN_TOKENS`. */
  readonly adminTokens: readonly AdminToken[];
}

/** HTTPS that a gateway ends itself. */
export interface HttpsConfig {
  /** `ssl.cert` and `ssl.key` beside the configuration file. */
  readonly cert: string;
  readonly key: string;
  /** `ENTREPOT_GATEWAY_TLS_LISTEN`. */
  readonly listen: Address;
}

/** How to reach Redis (`USER_EVENTS_REDIS`, or else `BUILDLOGS_REDIS`). */
export interface RedisConfig {
  readonly host: string;
  readonly port: number;
  /** Of Redis' access lists; undefined: the default one. */
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  /** `ssl: true` and its relatives; undefined: plain text. */
  readonly tls: RedisTls | undefined;
}

/** TLS to Redis: the paths of PEM files, and how much of the server's certificate counts. */
export interface RedisTls {
  /** `ssl_ca_certs`; undefined: the authorities that Node.js knows. */
  readonly ca: string | undefined;
  /** `ssl_certfile` and `ssl_keyfile`: our own, if the server asks for one. */
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** `ssl_cert_reqs`: whether it must be from an authority that is known. */
  readonly verified: boolean;
  /** `ssl_check_hostname`: whether it must be for `host`. */
  readonly hostChecked: boolean;
}

/** Who signs in at a gateway. */
export interface SignInConfig {
  /** `ENTREPOT_USERS_FILE`. */
  readonly usersFile: string;
  /** `SUPER_USERS`: those of the users who may do everything. */
  readonly superUsers: readonly string[];
  /** `ENTREPOT_DATABASE_SECRET_KEY`, or else `DATABASE_SECRET_KEY`: never log it. */
  readonly secretKey: string;
}

/** Which traces are recorded, and where they are sent; in the words of OpenTelemetry, see docs/tracing.md. */
export interface TracingConfig {
  /** The URL that spans are posted to. */
  readonly endpoint: string;
  /** Sent along. May hold a token: never log it. */
  readonly headers: Readonly<Record<string, string>>;
  /** For one export, with its retries. */
  readonly timeoutMs: number;
  readonly gzip: boolean;
  /** What the process says of itself; `service.name` is always there. */
  readonly resource: Readonly<Record<string, string>>;
  readonly sampler: {
    readonly kind:
      | 'always_on'
      | 'always_off'
      | 'traceidratio'
      | 'parentbased_always_on'
      | 'parentbased_always_off'
      | 'parentbased_traceidratio';
    /** From 0 to 1. */
    readonly ratio: number;
  };
  /** Spans that wait to be sent. What does not fit is dropped. */
  readonly queue: {
    readonly maxSpans: number;
    readonly maxBatch: number;
    readonly delayMs: number;
    readonly exportTimeoutMs: number;
  };
}

/** What callers without an account may do; `undefined`: nothing is opened, and without accounts the gateway serves its own machine only. */
export type AnonymousAccess = 'none' | 'pull' | 'push';

/** Everything a process may want to know, validated. */
export interface Config {
  readonly role: Role;
  /** `SERVER_HOSTNAME`, as clients see the registry; undefined if absent. */
  readonly serverHostname: string | undefined;
  /** `DB_URI` and its relatives. Undefined only for a storage-proxy, which has no database. */
  readonly database: DatabaseConfig | undefined;
  readonly redis: RedisConfig | undefined;
  /** All locations, in the order of `DISTRIBUTED_STORAGE_CONFIG`. */
  readonly locations: readonly LocationConfig[];
  /** All location names in this process's order of preference: those of the preference first, the others in config order. */
  readonly preference: readonly string[];
  /** `DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS`: where every blob must be; all locations if absent. */
  readonly defaultLocations: readonly string[];
  /** `FEATURE_STORAGE_REPLICATION`. */
  readonly replication: boolean;
  /** `ENTREPOT_WRITE_QUORUM`: a push is acknowledged once so many required locations hold all of it. */
  readonly writeQuorum: number;
  /** `ENTREPOT_WRITE_QUORUM_SECONDS`: how long a push waits for it. */
  readonly writeQuorumSeconds: number;
  /** `REGISTRY_STATE` is `readonly`: no pushes, no deletes. */
  readonly readOnly: boolean;
  /** `DISABLE_PUSHES`: no pushes. */
  readonly pushesDisabled: boolean;
  /** `LIBRARY_NAMESPACE`: the namespace of repositories whose name has one component. */
  readonly libraryNamespace: string;
  /** `MAXIMUM_LAYER_SIZE` in bytes. */
  readonly maximumLayerSize: number;
  /** `BLOBUPLOAD_DELETION_DATE_THRESHOLD`: an upload that nobody goes on with is ended after so many minutes. */
  readonly uploadExpiryMinutes: number;
  /** `ENTREPOT_MAXIMUM_MANIFEST_SIZE` in bytes. */
  readonly maximumManifestSize: number;
  /** `ENTREPOT_SPARSE_IMAGES`: an image may be pushed without all of its blobs. */
  readonly sparseImages: boolean;
  /** `ENTREPOT_ANONYMOUS_ACCESS`; undefined if absent. */
  readonly anonymousAccess: AnonymousAccess | undefined;
  /** `ENTREPOT_USERS_FILE` and what belongs to it; undefined: nobody signs in. Only in a gateway. */
  readonly signIn: SignInConfig | undefined;
  /** `ENTREPOT_TRUSTED_PROXIES`: addresses and networks whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[];
  /** `ENTREPOT_PROXY_PROTOCOL_FROM`: addresses and networks of proxies whose connections begin with a header of the PROXY protocol. */
  readonly proxyProtocolFrom: readonly string[];
  /** `PREFERRED_URL_SCHEME`: how clients reach the registry; undefined: each as it came. */
  readonly urlScheme: 'http' | 'https' | undefined;
  /** `ENTREPOT_GATEWAY_LISTEN`. */
  readonly gatewayListen: Address;
  /** Undefined where there is no certificate for it, or a proxy in front ends TLS (`EXTERNAL_TLS_TERMINATION`); and in every other role. */
  readonly https: HttpsConfig | undefined;
  readonly grpc: GrpcConfig;
  /** `ENTREPOT_STORAGE_PROXY_LISTEN`. */
  readonly storageProxyListen: Address;
  /** `ENTREPOT_WORKER_LISTEN`: health, and the Admin service. */
  readonly workerListen: Address;
  /** `ENTREPOT_WORKER_LOCATIONS`: the locations that this worker copies blobs to; the first of the preference if absent. */
  readonly workerLocations: readonly string[];
  /** `ENTREPOT_WORKER_ADVERTISE`: where gateways reach this worker, `host:port`; undefined: its listen address. */
  readonly workerAdvertise: string | undefined;
  /** `ENTREPOT_ADMIN_SERVERS`: workers that the `entrepot` command may ask, `host:port`; may be empty. */
  readonly adminServers: readonly string[];
  /** `ENTREPOT_WORKER_CONCURRENCY`: how many copies a worker makes at a time from one location to another. */
  readonly workerConcurrency: number;
  /** The location that this storage-proxy owns; undefined in every other role. */
  readonly owned: OwnedLocation | undefined;
  /** `ENTREPOT_HEALTH_REQUIRES_STORAGE`: /health/endtoend is 503 while the region's own location is down. */
  readonly healthRequiresStorage: boolean;
  /** `ENTREPOT_SHUTDOWN_DELAY_SECONDS`: for so long a process that is told to end still takes new requests. */
  readonly shutdownDelaySeconds: number;
  /** `ENTREPOT_METRICS_LISTEN`: where the process's metrics are served; undefined: nowhere. */
  readonly metricsListen: Address | undefined;
  /** `FEATURE_OTEL_TRACING`, `OTEL_CONFIG`, and OpenTelemetry's variables; undefined: nothing is recorded. */
  readonly tracing: TracingConfig | undefined;
  /** `ENTREPOT_LOG_LEVEL`. */
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** The file that was read. */
  readonly file: string;
  /** What the operator should know although nothing is wrong, for example which keys are ignored. To be logged once at the start. */
  readonly notices: readonly string[];
}
