/** Starts a storage-proxy node: one location's engine behind the storage service. */
import type { Config } from '../lib/config/config.js';
import { type Running, runRole } from '../lib/process/run.js';
import { version } from '../lib/process/version.js';
import { Security } from '../lib/rpc/security.js';
import { formatAddress, startServer } from '../lib/rpc/server.js';
import type { Logger } from '../lib/telemetry/log.js';
import { MetricsListener } from '../lib/telemetry/metrics-listener.js';
import { StorageMetrics } from '../lib/telemetry/storage-metrics.js';
import { createEngine } from './engines/registry.js';
import { traced } from './engines/traced.js';
import { Canary, HEALTH } from './service/canary.js';
import { storageService } from './service/service.js';
import { Sweep } from './service/sweep.js';

await runRole('storage-proxy', start);

async function start(config: Config, log: Logger): Promise<Running> {
  const { owned } = config;
  if (!owned) throw new Error('no location is configured for this node: see DISTRIBUTED_STORAGE_PREFERENCE');
  const bare = createEngine(owned);
  const engine = config.tracing ? traced(bare, owned.name) : bare;
  const security = Security.open(config.grpc, log);
  const metrics = new StorageMetrics('storage-proxy', version);
  security.certificates?.subscribe(({ expires }) => metrics.certificateExpires('grpc', expires));
  const setHealth = (need: keyof typeof HEALTH, serving: boolean) => {
    server.setHealth(HEALTH[need], serving);
    metrics.store(owned.name, need, serving);
  };
  const canary: Canary = new Canary({ engine, log, setHealth });
  const identity = () => canary.identity();
  const service = storageService({ engine, location: owned.name, version, identity, metrics, log });
  const healthNames = Object.values(HEALTH);
  const server = await startServer(config.storageProxyListen, {
    ...{ services: [service], healthNames, security, log },
    listenKey: 'ENTREPOT_STORAGE_PROXY_LISTEN',
  });
  const refresh = async () => metrics.gates(service.load());
  const metricsListener =
    config.metricsListen && (await MetricsListener.start({ listen: config.metricsListen, metrics, refresh, log }));
  const sweep = new Sweep(engine, config.uploadExpiryMinutes, log);

  log.info({ location: owned.name, engine: engine.driver, address: formatAddress(server.address) }, 'listening');
  await canary.start();
  sweep.start();

  return {
    async stop(graceMs, farewellMs) {
      canary.stop();
      sweep.stop();
      await server.stop(graceMs, farewellMs);
      await metricsListener?.close();
      await security.close();
    },
  };
}
