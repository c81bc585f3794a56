/**
 * Who may call what: the one place where a call is let in or refused, before any handler hears of it.
 *
 * Each service names the roles that may call it; a method of no service that was registered is refused. Health and
 * reflection are for everybody who is known to be one of us.
 */
import {
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  type ServerMethodDefinition,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { CertificateRole } from '../tls/identity.js';
import { fail, type StatusError, toServiceError } from './errors.js';
import type { Security } from './security.js';

/** Roles that may be named as callers of a service. */
export type CallerRole = Exclude<CertificateRole, 'storage-proxy'>;

/** The methods of a service, and who may call them. */
export interface Permission {
  readonly paths: readonly string[];
  readonly callers: readonly CallerRole[];
}

const FOR_ALL_OF_US = /^\/grpc\.(health\.v1\.Health|reflection\.v1(alpha)?\.ServerReflection)\//;

/** At most one line in so long: whoever is refused may go on and on. */
const LOG_EVERY_MS = 1_000;

/** Refuses what `permissions` do not allow; `log` hears of it. */
export function authorise(
  security: Security,
  permissions: readonly Permission[],
  log: Logger | undefined,
): ServerInterceptor {
  let logged = Number.NEGATIVE_INFINITY;
  const tell = (peer: string, error: StatusError) => {
    if (performance.now() - logged < LOG_EVERY_MS) return;
    logged = performance.now();
    log?.warn({ peer }, `a call was refused: ${error.message}`);
  };
  const callersOf = new Map(permissions.flatMap(({ paths, callers }) => paths.map(path => [path, callers] as const)));

  /** Why the call is refused; undefined if it is not. */
  function refusal(path: string, proof: Parameters<Security['identify']>[0]): StatusError | undefined {
    const { roles, isKnown, description } = security.identify(proof);
    if (FOR_ALL_OF_US.test(path))
      return isKnown ? undefined : fail.forbidden(`${description} may call nothing: a certificate is needed`);
    const callers: readonly CertificateRole[] = callersOf.get(path) ?? [];
    if (roles.some(role => callers.includes(role))) return undefined;
    const who = callers.length > 0 ? `only ${callers.map(role => `${role}s`).join(' and ')} may` : 'nobody may';
    return fail.forbidden(`${description} may not call ${path}: ${who}`);
  }

  return ({ path }: ServerMethodDefinition<unknown, unknown>, call) =>
    new ServerInterceptingCall(call, {
      start(next) {
        const listener = new ServerListenerBuilder().withOnReceiveMetadata((metadata, pass) => {
          const error = refusal(path, {
            certificate: call.getAuthContext().sslPeerCertificate,
            authorization: metadata.get('authorization')[0]?.toString(),
            peer: call.getPeer(),
          });
          if (!error) return pass(metadata);
          tell(call.getPeer(), error);
          call.sendStatus(toServiceError(error));
        });
        next(listener.build());
      },
    });
}
