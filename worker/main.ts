/** The worker: copies blobs to its locations, tells when images have arrived, and cleans up after uploads that were given up. */
import { randomUUID } from 'node:crypto';
import { RedisCache } from '../lib/cache/redis.js';
import type { Config } from '../lib/config/config.js';
import { Locations, SETTLE_MS } from '../lib/locations/locations.js';
import { AppliedCalls } from '../lib/metadata/applied-calls.js';
import { Database } from '../lib/metadata/database.js';
import { Events } from '../lib/metadata/events.js';
import { waitForMigrations } from '../lib/metadata/migrate.js';
import { configuredMode } from '../lib/metadata/mode.js';
import { ReplicationListener, ReplicationSignal } from '../lib/metadata/notify.js';
import { Places, registerLocations } from '../lib/metadata/places.js';
import { Presence } from '../lib/metadata/presence.js';
import { Processes, processRow } from '../lib/metadata/processes.js';
import { Replication } from '../lib/metadata/replication.js';
import { Requeue } from '../lib/metadata/requeue.js';
import { settingsOf } from '../lib/metadata/settings.js';
import { Uploads } from '../lib/metadata/uploads.js';
import { Workers } from '../lib/metadata/workers.js';
import { type Running, runRole } from '../lib/process/run.js';
import { version } from '../lib/process/version.js';
import { advertisedAddress } from '../lib/rpc/advertise.js';
import { Security } from '../lib/rpc/security.js';
import { formatAddress, startServer } from '../lib/rpc/server.js';
import type { Logger } from '../lib/telemetry/log.js';
import { MetricsListener } from '../lib/telemetry/metrics-listener.js';
import { WorkerMetrics } from '../lib/telemetry/worker-metrics.js';
import { adminService } from './admin/service.js';
import { foldCounts } from './counts/folding.js';
import { Asking } from './crossing/asking.js';
import { Crossings } from './crossing/crossings.js';
import { crossingService } from './crossing/service.js';
import { EventPublisher } from './events/publisher.js';
import { RedisSink } from './events/redis-sink.js';
import { EventSweep } from './events/sweep.js';
import { UploadExpiry } from './expire-uploads/expire-uploads.js';
import { BacklogMetrics } from './replicate/backlog.js';
import { Replicator } from './replicate/replicator.js';
import { Roster } from './replicate/roster.js';
import { Requeuing } from './requeue/requeuing.js';
import { Tidying } from './tidying.js';

/** Redis may be in another region. */
const PUBLISH_TIMEOUT_MS = 2_000;
const FORGET_MS = 10 * 60_000;

await runRole('worker', start);

async function start(config: Config, log: Logger, signal: AbortSignal): Promise<Running> {
  if (!config.database) throw new Error('DB_URI is missing');
  const db = new Database(config.database, log);
  await waitForMigrations(db, log, signal);

  const places = new Places(db);
  const configured = await registerLocations(places, config, log);
  await places.setDefaults(config.defaultLocations, config.replication);
  const metrics = new WorkerMetrics('worker', version);
  const security = Security.open(config.grpc, log);
  security.certificates?.subscribe(({ expires }) => metrics.certificateExpires('grpc', expires));
  const locations = new Locations({ ...config, locations: configured, identify: places.identify, security, log });
  const crossings = new Crossings();
  const asking = new Asking({
    ...{ crossings, locations, log },
    copier: { copyAsked: way => replicator.copyAsked(way) },
    isThisWorker: worker => worker === address,
  });
  const workers = new Workers(db);
  const queued = new ReplicationSignal(db, log);
  const ending = new AbortController();
  const onAnswered = metrics.answered;
  const admin = adminService({
    ...{ db, settings: settingsOf(config), locations, onAnswered, log },
    configuredMode: configuredMode(config),
    onQueued: () => queued.notify(),
    ending: ending.signal,
  });
  await locations.settle(SETTLE_MS, signal);
  const server = await startServer(config.workerListen, {
    services: [crossingService({ crossings, asking, locations, onAnswered, log }), admin],
    healthNames: [''],
    security,
    log,
    listenKey: 'ENTREPOT_WORKER_LISTEN',
  });
  const address = config.workerAdvertise ?? advertisedAddress(server.address);
  const id = randomUUID();
  const presence = await Presence.begin({
    processes: new Processes(db),
    self: processRow(config, { id, role: 'worker', address, version }),
    log,
  });
  const replication = new Replication(db, id);
  const roster = new Roster({
    workers,
    self: {
      id,
      address,
      locations: config.replication ? config.workerLocations : [],
      knows: config.replication ? configured.map(location => location.name) : [],
    },
    onChange: () => replicator.wake(),
    metrics,
    log,
  });
  const replicator = new Replicator({
    ...{ replication, locations, roster, crossings, metrics, log },
    concurrency: config.workerConcurrency,
  });
  const backlog = new BacklogMetrics(db, metrics);
  const refresh = () => {
    metrics.pool(db.pool);
    metrics.usable(locations.all);
    return backlog.refresh();
  };
  const metricsListener =
    config.metricsListen && (await MetricsListener.start({ listen: config.metricsListen, metrics, refresh, log }));
  const requeuing = new Requeuing({
    requeue: new Requeue(db),
    replicate: config.replication,
    onQueued: () => queued.notify(),
    log,
  });
  const events = new Events(db);
  const sweep = new EventSweep(events, log);
  const redis = config.redis && new RedisCache(config.redis, log, { timeoutMs: PUBLISH_TIMEOUT_MS });
  const publisher =
    redis && new EventPublisher({ events, locations: config.workerLocations, sink: new RedisSink(redis), log });
  const onSignal = () => {
    replicator.wake();
    requeuing.wake();
  };
  const listener = new ReplicationListener(config.database.listenUrl, onSignal, log);
  const counts = foldCounts(db, log);
  const calls = new AppliedCalls(db);
  const forgetting = new Tidying({
    everyMs: FORGET_MS,
    work: () => calls.forget(),
    failure: 'cannot forget the numbers of old calls',
    log,
  });
  const expiry = new UploadExpiry(new Uploads(db, settingsOf(config)), locations, config.uploadExpiryMinutes, log);

  server.setHealth('', true);
  log.info(
    { listen: formatAddress(server.address), locations: config.workerLocations },
    'copying blobs to these locations',
  );
  if (!config.replication) log.warn('FEATURE_STORAGE_REPLICATION is false: nothing is copied');

  return {
    async stop(graceMs, farewellMs) {
      ending.abort();
      await Promise.all([
        listener.close(),
        expiry.close(),
        asking.close(),
        // Others may have its share of the copies while it still answers.
        replicator.stop().then(() => roster.close()),
        server.stop(graceMs, farewellMs),
      ]);
      crossings.close();
      await Promise.all([
        requeuing.close(),
        sweep.close(),
        publisher?.close(),
        presence.close(),
        counts.close(),
        forgetting.close(),
        metricsListener?.close(),
      ]);
      await queued.close();
      redis?.close();
      await locations.close();
      await security.close();
      await db.close();
    },
  };
}
