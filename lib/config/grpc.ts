/** How processes make sure of each other over gRPC, and who may administer them. */
import { isLoopback, parseAddress } from './address.js';
import type { Address, AdminToken, CertificatePaths, GrpcConfig, LocationConfig, Role } from './config.js';
import type { Reader } from './reader.js';
import type { Key } from './schema/schema.js';

const PATHS = {
  ca: 'ENTREPOT_GRPC_TLS_CA',
  cert: 'ENTREPOT_GRPC_TLS_CERT',
  key: 'ENTREPOT_GRPC_TLS_KEY',
} as const satisfies Record<string, Key>;

/** What is needed beside addresses: where this process listens for gRPC, and whom it calls. */
export interface GrpcAddresses {
  readonly listen: { readonly key: Key; readonly address: Address } | undefined;
  readonly locations: readonly LocationConfig[];
}

/** Reads it, and notes a mistake for each address with which gRPC would be plain text over a network. */
export function readGrpc(reader: Reader, role: Role, { listen, locations }: GrpcAddresses): GrpcConfig {
  const tls = readPaths(reader);
  const insecure = reader.take('ENTREPOT_INSECURE_GRPC');
  const hasPaths = Object.values(PATHS).some(key => reader.raw(key));
  if (insecure && hasPaths) {
    reader.mistake(
      'ENTREPOT_INSECURE_GRPC',
      'stands beside certificates (ENTREPOT_GRPC_TLS_…): remove the one or the other',
    );
  } else if (!insecure && !hasPaths) {
    if (listen && !isLoopback(listen.address.host)) {
      reader.mistake(listen.key, `other machines could reach this address, and gRPC would be plain text: ${ADVICE}`);
    }
    const far = locations.flatMap(({ nodes }) => nodes.filter(node => !isLoopback(parseAddress(node)?.host ?? '')));
    if ((role === 'gateway' || role === 'worker') && far.length > 0) {
      const message = `${far.join(', ')} would be reached over a network in plain text: ${ADVICE}`;
      reader.mistake('ENTREPOT_LOCATIONS', message);
    }
  }
  return {
    tls,
    insecure,
    administrators: reader.take('ENTREPOT_ADMINISTRATORS'),
    adminTokens: readTokens(reader),
  };
}

const ADVICE =
  'give certificates with ENTREPOT_GRPC_TLS_CA, ENTREPOT_GRPC_TLS_CERT and ENTREPOT_GRPC_TLS_KEY ' +
  '("entrepot certs" makes them), or allow it with ENTREPOT_INSECURE_GRPC: true';

function readPaths(reader: Reader): CertificatePaths | undefined {
  const path = (name: keyof typeof PATHS) => reader.take(PATHS[name]);
  const [ca, cert, key] = [path('ca'), path('cert'), path('key')];
  if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key };
  const given = Object.values(PATHS).filter(each => reader.raw(each));
  for (const missing of Object.values(PATHS)) {
    if (given.length > 0 && !reader.raw(missing)) reader.mistake(missing, `is missing beside ${given.join(' and ')}`);
  }
  return undefined;
}

/**
 * `ENTREPOT_GRPC_TLS_CA` where it stands alone: an administrator who has a token needs no certificate, but must still know
 * whom to send the token to.
 */
export function readAuthorityAlone(reader: Reader): string | undefined {
  if (reader.raw(PATHS.cert) || reader.raw(PATHS.key)) return undefined;
  return reader.take(PATHS.ca);
}

function readTokens(reader: Reader): AdminToken[] {
  const hashes = reader.take('ENTREPOT_ADMIN_TOKENS');
  return Object.entries(hashes).map(([name, sha256]) => ({ name, sha256: sha256.toLowerCase() }));
}
