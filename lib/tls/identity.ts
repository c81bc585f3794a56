/**
 * Whose certificate it is. A certificate of ours says so with one URI among its alternative names, in SPIFFE's form:
 * `spiffe://<any domain>/role/<role>/<name>`, for example `spiffe://entrepot/role/gateway/us-1`.
 *
 * The domain is free: who may sign such names is decided by the authority that is configured, which must sign for this
 * registry alone.
 */

/** What the holder of a certificate is to this registry. */
export const CERTIFICATE_ROLES = ['gateway', 'worker', 'storage-proxy', 'administrator'] as const;
export type CertificateRole = (typeof CERTIFICATE_ROLES)[number];

export interface Identity {
  readonly role: CertificateRole;
  /** Which of them. */
  readonly name: string;
}

/** What a name may consist of. */
export const IDENTITY_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

const URI = /^spiffe:\/\/[A-Za-z0-9._-]+\/role\/([^/]+)\/([^/]+)$/;

/** The domain of the names that we make ourselves. */
const DOMAIN = 'entrepot';

/** The URI that stands for an identity. */
export function identityUri({ role, name }: Identity): string {
  return `spiffe://${DOMAIN}/role/${role}/${name}`;
}

/**
 * The identity in a certificate's alternative names, as Node.js writes those (`DNS:a, URI:b`). Undefined if there is
 * none, or more than one.
 */
export function identityOf(alternativeNames: string | undefined): Identity | undefined {
  const found = uris(alternativeNames ?? '').flatMap(uri => parse(uri) ?? []);
  return found.length === 1 ? found[0] : undefined;
}

function parse(uri: string): Identity | undefined {
  const [, word = '', name = ''] = URI.exec(uri) ?? [];
  const role = CERTIFICATE_ROLES.find(known => known === word);
  return role && IDENTITY_NAME.test(name) ? { role, name } : undefined;
}

/** Node.js puts a name in quotes that could be taken for several; such a one is none of ours, but must not be split. */
function uris(text: string): string[] {
  const names = text.matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?=, |$)/gy);
  return [...names].filter(([, kind]) => kind === 'URI').map(([, , value = '']) => value);
}
