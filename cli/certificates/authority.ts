/**
 * A private certificate authority: makes itself, and certificates whose names say what their holder is to this registry
 * (lib/tls/identity.ts). Keys are on the curve P-256, and only in memory here: who calls writes them down.
 */
// Must come first: the library asks for it while it is loaded.
import 'reflect-metadata';
import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { type Identity, identityUri } from '../../lib/tls/identity.js';

/** A certificate and its key, each as the text of a PEM file. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateRequest extends Identity {
  /** Host names and IP addresses at which its holder is reached. */
  readonly hosts: readonly string[];
  readonly days: number;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Clocks differ a little: a certificate is valid from a moment before it was made. */
const SKEW_MS = 5 * 60_000;
const DAY_MS = 24 * 3_600_000;

/** Makes an authority. */
export async function makeAuthority(days: number): Promise<Pair> {
  const keys = await makeKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...lifetime(days),
    serialNumber: serialNumber(),
    // Authorities that follow each other are told apart by their names.
    name: `CN=Entrepot authority ${randomBytes(4).toString('hex')}, O=Entrepot`,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pem(certificate), key: await keyText(keys.privateKey) };
}

/** Issues a certificate. It ends with its authority at the latest. */
export async function issue(authority: Pair, request: CertificateRequest): Promise<Pair> {
  const { role, name, hosts, days } = request;
  const issuer = new X509Certificate(authority.cert);
  const signingKey = await importKey(authority.key);
  const keys = await makeKeys();
  const { notBefore, notAfter } = lifetime(days);
  const certificate = await X509CertificateGenerator.create({
    notBefore,
    notAfter: notAfter < issuer.notAfter ? notAfter : issuer.notAfter,
    serialNumber: serialNumber(),
    subject: `CN=${role} ${name}, O=Entrepot`,
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([
        ExtendedKeyUsage.clientAuth,
        // Also a gateway's, if it is to be its certificate for HTTPS.
        ...(hosts.length > 0 ? [ExtendedKeyUsage.serverAuth] : []),
      ]),
      new SubjectAlternativeNameExtension([
        { type: 'url', value: identityUri(request) },
        ...hosts.map(value => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
      ]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return { cert: pem(certificate), key: await keyText(keys.privateKey) };
}

function makeKeys() {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function importKey(text: string) {
  const der = createPrivateKey(text).export({ format: 'der', type: 'pkcs8' });
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
}

async function keyText(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ format: 'pem', type: 'pkcs8' })
    .toString();
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem').trimEnd()}\n`;
}

function lifetime(days: number) {
  return { notBefore: new Date(Date.now() - SKEW_MS), notAfter: new Date(Date.now() + days * DAY_MS) };
}

/** Positive, and never used twice. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}
