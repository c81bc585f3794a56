/** Starts a storage-proxy node: one location's engine behind the storage service. */
import type { Config } from '../lib/config/config.js';
import { type Running, runRole } from '../lib/process/run.js';
import { version } from '../lib/process/version.js';
import { Security } from '../lib/rpc/security.js';
import { formatAddress, startServer } from '../lib/rpc/server.js';
import type { Logger } from '../lib/telemetry/log.js';
import { createEngine } from './engines/registry.js';
import { Canary, HEALTH } from './service/canary.js';
import { storageService } from './service/service.js';
import { Sweep } from './service/sweep.js';

await runRole('storage-proxy', start);

async function start(config: Config, log: Logger): Promise<Running> {
  const { owned } = config;
  if (!owned) throw new Error('no location is configured for this node: see DISTRIBUTED_STORAGE_PREFERENCE');
  const engine = createEngine(owned);
  const security = Security.open(config.grpc, log);
  const canary: Canary = new Canary({ engine, log, setHealth: (name, serving) => server.setHealth(name, serving) });
  const service = storageService({ engine, location: owned.name, version, identity: () => canary.identity(), log });
  const healthNames = Object.values(HEALTH);
  const server = await startServer(config.storageProxyListen, { services: [service], healthNames, security });
  const sweep = new Sweep(engine, config.uploadExpiryMinutes, log);

  log.info({ location: owned.name, engine: engine.driver, address: formatAddress(server.address) }, 'listening');
  await canary.start();
  sweep.start();

  return {
    async stop(graceMs) {
      canary.stop();
      sweep.stop();
      await server.stop(graceMs);
      await security.close();
    },
  };
}
