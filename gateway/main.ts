/** The gateway: the registry's HTTP API. Reads the configuration, builds the parts, hands them to each other. */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { ManifestCache } from '../lib/cache/manifests.js';
import { RedisCache } from '../lib/cache/redis.js';
import type { Config } from '../lib/config/config.js';
import { Crossings } from '../lib/locations/crossing.js';
import { Locations, SETTLE_MS } from '../lib/locations/locations.js';
import { NearWorkers } from '../lib/locations/near-workers.js';
import { ReplayBudget } from '../lib/locations/replay.js';
import { Blobs } from '../lib/metadata/blobs.js';
import { Database } from '../lib/metadata/database.js';
import { Manifests } from '../lib/metadata/manifests.js';
import { waitForMigrations } from '../lib/metadata/migrate.js';
import { configuredMode, inForce } from '../lib/metadata/mode.js';
import { Namespaces } from '../lib/metadata/namespaces.js';
import { ReplicationSignal } from '../lib/metadata/notify.js';
import { Places, registerLocations } from '../lib/metadata/places.js';
import { Presence } from '../lib/metadata/presence.js';
import { Processes, processRow } from '../lib/metadata/processes.js';
import { Referrers } from '../lib/metadata/referrers.js';
import { Repositories } from '../lib/metadata/repositories.js';
import { settingsOf } from '../lib/metadata/settings.js';
import { Tags } from '../lib/metadata/tags.js';
import { Uploads } from '../lib/metadata/uploads.js';
import { Workers } from '../lib/metadata/workers.js';
import { type Running, runRole } from '../lib/process/run.js';
import { version } from '../lib/process/version.js';
import { advertisedAddress } from '../lib/rpc/advertise.js';
import { Security } from '../lib/rpc/security.js';
import { formatAddress } from '../lib/rpc/server.js';
import { GatewayMetrics } from '../lib/telemetry/gateway-metrics.js';
import { MetricsListener } from '../lib/telemetry/metrics-listener.js';
import { Certificates } from '../lib/tls/certificates.js';
import { openAccess } from './auth/access.js';
import { TOKEN_PATH } from './auth/challenge.js';
import { createHealth, isHealthPath } from './health.js';
import { createApp } from './http/app.js';
import { ProxyProtocol } from './http/proxy-protocol.js';
import { HttpServer } from './http/server.js';
import { createRegistry } from './registry/registry.js';
import { Residency } from './registry/residency.js';
import { splitTarget } from './registry/routes.js';
import { WrittenUploads } from './registry/written-uploads.js';

await runRole('gateway', start);

async function start(config: Config, log: Logger, signal: AbortSignal): Promise<Running> {
  if (!config.database) throw new Error('the gateway needs a database: set DB_URI');
  const db = new Database(config.database, log);
  const places = new Places(db);
  await waitForMigrations(db, log, signal);
  const configured = await registerLocations(places, config, log);
  await places.setDefaults(config.defaultLocations, config.replication);

  const metrics = new GatewayMetrics('gateway', version);
  const address = advertisedAddress(config.gatewayListen);
  const presence = await Presence.begin({
    processes: new Processes(db),
    self: processRow(config, { id: randomUUID(), role: 'gateway', address, version }),
    log,
  });

  const settings = settingsOf(config);
  const security = Security.open(config.grpc, log);
  const locations = new Locations({ ...config, locations: configured, identify: places.identify, security, log });
  const [near] = locations.all;
  const workers = new Workers(db);
  const nearWorkers = near && new NearWorkers({ addresses: () => workers.addresses(near.name), security, log });
  const redis = config.redis && new RedisCache(config.redis, log);
  const replicationSignal = new ReplicationSignal(db, log);
  const access = await openAccess({ config, db, redis, log });
  const registry = createRegistry({
    config,
    authorizer: access.authorizer,
    mode: () => inForce(presence.mode, configuredMode(config)),
    locations,
    crossings: near && nearWorkers && config.replication ? new Crossings(near, nearWorkers) : undefined,
    replayBudget: new ReplayBudget(),
    blobs: new Blobs(db, settings),
    residency: new Residency(new Namespaces(db, settings)),
    uploads: new Uploads(db, settings),
    writtenUploads: new WrittenUploads(),
    manifests: new Manifests(db, settings),
    manifestCache: new ManifestCache(redis, metrics.lookup),
    tags: new Tags(db, settings),
    referrers: new Referrers(db, settings),
    repositories: new Repositories(db),
    replicationSignal,
  });

  const { proxyProtocolFrom } = config;
  const proxyProtocol = proxyProtocolFrom.length > 0 ? new ProxyProtocol(proxyProtocolFrom, log) : undefined;
  const server = new HttpServer({ log, proxyProtocol });
  const https = config.https && new Certificates({ files: { ca: undefined, ...config.https }, log });
  security.certificates?.subscribe(({ expires }) => metrics.certificateExpires('grpc', expires));
  https?.subscribe(({ expires }) => metrics.certificateExpires('https', expires));
  const health = createHealth({
    db,
    locations,
    redis,
    requireStorage: config.healthRequiresStorage,
    isDraining: () => server.draining,
  });
  const app = createApp({
    log,
    handle: async ctx => {
      const { path, query } = splitTarget(ctx.req.url ?? '/');
      if (isHealthPath(path)) return health(ctx, path);
      if (path === TOKEN_PATH && access.tokenEndpoint) return access.tokenEndpoint(ctx, query);
      await access.identify(ctx);
      await registry(ctx, path, query);
    },
    onAnswered: request => metrics.request(request),
  });
  const refresh = async () => {
    metrics.pool(db.pool);
    metrics.usable(locations.all);
  };
  const metricsListener =
    config.metricsListen && (await MetricsListener.start({ listen: config.metricsListen, metrics, refresh, log }));
  await locations.settle(SETTLE_MS, signal);
  const listen = [await server.listen(config.gatewayListen, app.callback())];
  if (config.https && https) listen.push(await server.listenTls(config.https.listen, https));
  log.info({ listen: listen.map(formatAddress).join(', '), preference: config.preference }, 'the gateway serves');

  return {
    async stop(graceMs, farewellMs) {
      await server.stop(graceMs, farewellMs);
      await metricsListener?.close();
      await access.close();
      await presence.close();
      await replicationSignal.close();
      await nearWorkers?.close();
      await locations.close();
      await security.close();
      await https?.close();
      redis?.close();
      await db.close();
    },
  };
}
