/**
 * Who talks to whom over gRPC, and how each makes sure of the other: TLS with certificates on both sides, or plain text
 * on this machine. What a certificate's holder is to us stands in the certificate (lib/tls/identity.ts).
 *
 * grpc-js takes certificates from a provider, which tells it of new ones: connections that exist live on, those made
 * after a change use the new pair.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import {
  type ChannelCredentials,
  type ChannelOptions,
  type ClientOptions,
  credentials,
  experimental,
  ServerCredentials,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { isLoopback, parseAddress } from '../config/address.js';
import type { GrpcConfig } from '../config/config.js';
import { Certificates, type Loaded } from '../tls/certificates.js';
import { type CertificateRole, identityOf } from '../tls/identity.js';
import { CONNECTION_AGE_MS, Renewed } from './renewed.js';

/** What a server must be for a client to talk to it. */
export type ServerRole = Extract<CertificateRole, 'storage-proxy' | 'worker'>;

/** What a caller is known by. */
export interface Proof {
  readonly certificate: PeerCertificate | undefined;
  /** The value of the header `authorization`, if there is one. */
  readonly authorization: string | undefined;
  /** Where the call comes from, as grpc-js says it: an address, a colon and a port. */
  readonly peer: string;
}

/** Who calls. */
export interface Caller {
  /** What they may act as. */
  readonly roles: readonly CertificateRole[];
  /** Whether it is one of us, with or without such a role: they have a valid certificate or token, or there are none. */
  readonly isKnown: boolean;
  /** For messages. */
  readonly description: string;
}

type Provider = experimental.CertificateProvider;

export class Security {
  /** Plain text, on this machine only. */
  static readonly local = new Security(
    { tls: undefined, insecure: false, administrators: [], adminTokens: [] },
    undefined,
  );

  readonly #config: GrpcConfig;
  readonly #certificates: Certificates | undefined;
  readonly #provider: Provider | undefined;

  /** Reads the certificates, if there are to be any. Throws, naming the file, if they cannot be used. */
  static open(config: GrpcConfig, log: Logger, everyMs?: number): Security {
    const certificates =
      config.tls && new Certificates({ files: config.tls, log, ...(everyMs === undefined ? {} : { everyMs }) });
    return new Security(config, certificates);
  }

  private constructor(config: GrpcConfig, certificates: Certificates | undefined) {
    this.#config = config;
    this.#certificates = certificates;
    this.#provider = certificates && providerOf(certificates);
  }

  /** The certificates of this process; undefined with plain text. */
  get certificates(): Certificates | undefined {
    return this.#certificates;
  }

  /** What a client's constructor wants, to reach a server of a role at `host:port`. Throws if that is not to be reached in plain text. */
  dial(address: string, role: ServerRole, options: ChannelOptions): [string, ChannelCredentials, ChannelOptions] {
    const host = parseAddress(address)?.host ?? address;
    if (!this.#provider) {
      if (!this.#config.insecure && !isLoopback(host)) throw new Error(refusal(address));
      return [address, credentials.createInsecure(), options];
    }
    const checked = experimental.createCertificateProviderChannelCredentials(this.#provider, this.#provider, {
      checkServerIdentity: (_host, certificate) => wrongServer(host, role, certificate),
    });
    return [address, checked, named(host, role, options)];
  }

  /**
   * The same for a process that asks about itself at an address of this machine, for which its certificate need not be:
   * everything else about it must be right.
   */
  dialOwn(address: string, role: ServerRole, options: ChannelOptions): [string, ChannelCredentials, ChannelOptions] {
    if (!this.#provider) return this.dial(address, role, options);
    const checked = experimental.createCertificateProviderChannelCredentials(this.#provider, this.#provider, {
      checkServerIdentity: (host, certificate) => wrongRole(host, role, certificate),
    });
    return [address, checked, { ...options, 'grpc.ssl_target_name_override': role }];
  }

  /**
   * The same for an administrator who has no certificate, and sends a token with each call. `ca`: the authorities that the
   * server's certificate must come from, as PEM.
   */
  static dialWithAuthority(
    address: string,
    role: ServerRole,
    options: ChannelOptions,
    ca: Buffer,
  ): [string, ChannelCredentials, ChannelOptions] {
    const host = parseAddress(address)?.host ?? address;
    const checked = credentials.createSsl(ca, null, null, {
      checkServerIdentity: (_host, certificate) => wrongServer(host, role, certificate),
    });
    return [address, checked, named(host, role, options)];
  }

  /** The same for a client that lives long: its connection is renewed, if there are certificates. `ageMs` is for tests. */
  renewed<Client extends { close(): void }>(
    Stub: new (address: string, credentials: ChannelCredentials, options: ClientOptions) => Client,
    address: string,
    role: ServerRole,
    channel: ChannelOptions,
    ageMs = CONNECTION_AGE_MS,
  ): Renewed<Client> {
    const [at, checked, options] = this.dial(address, role, channel);
    const open = (more: ClientOptions) => new Stub(at, checked, { ...options, ...more });
    return new Renewed(open, this.#certificates ? ageMs : Number.POSITIVE_INFINITY);
  }

  /** The credentials of a server. `tokens`: whether who has no certificate may come in with a token instead. */
  serverCredentials(host: string, tokens: boolean): ServerCredentials {
    if (!this.#provider) {
      if (!this.#config.insecure && !isLoopback(host)) throw new Error(refusal(host));
      return ServerCredentials.createInsecure();
    }
    const needsCertificate = !tokens || this.#config.adminTokens.length === 0;
    return experimental.createCertificateProviderServerCredentials(this.#provider, this.#provider, needsCertificate);
  }

  /** Who calls. With plain text, whoever is on this machine may do everything, and others what gateways and workers may. */
  identify({ certificate, authorization, peer }: Proof): Caller {
    if (!this.#provider) {
      return isLoopback(peerHost(peer))
        ? known('somebody on this machine', 'gateway', 'worker', 'administrator')
        : known('somebody who calls in plain text from another machine', 'gateway', 'worker');
    }
    const token = this.#administratorOf(authorization);
    if (token !== undefined) return known(`an administrator with the token ${token}`, 'administrator');
    if (!certificate) {
      const description = authorization ? 'somebody with a token that is not known' : 'somebody without a certificate';
      return { roles: [], isKnown: false, description };
    }
    const identity = identityOf(certificate.subjectaltname);
    if (!identity) return known('somebody whose certificate names no role');
    const { role, name } = identity;
    if (role === 'administrator' && !this.#config.administrators.includes(name))
      return known(`the administrator ${name}, whom ENTREPOT_ADMINISTRATORS does not name,`);
    return known(`the ${role} ${name}`, role);
  }

  async close(): Promise<void> {
    await this.#certificates?.close();
  }

  /** The name of the token that was sent, if it is one. Takes as long whichever it is. */
  #administratorOf(authorization: string | undefined): string | undefined {
    const [, token] = /^Bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
    if (token === undefined) return undefined;
    const hash = createHash('sha256').update(token).digest();
    let found: string | undefined;
    for (const { name, sha256 } of this.#config.adminTokens) {
      if (timingSafeEqual(hash, Buffer.from(sha256, 'hex'))) found = name;
    }
    return found;
  }
}

function known(description: string, ...roles: CertificateRole[]): Caller {
  return { roles, isKnown: true, description };
}

function refusal(where: string): string {
  return `gRPC with ${where} would be plain text over a network: give certificates with ENTREPOT_GRPC_TLS_CA, ENTREPOT_GRPC_TLS_CERT and ENTREPOT_GRPC_TLS_KEY ("entrepot certs" makes them), or allow it with ENTREPOT_INSECURE_GRPC: true`;
}

/** TLS has no way to ask for an IP address by name; which one it must be is checked all the same, see `wrongServer`. */
function named(host: string, role: ServerRole, options: ChannelOptions): ChannelOptions {
  return isIP(host) === 0 ? options : { ...options, 'grpc.ssl_target_name_override': role };
}

/** Why the server at `host` is not the one that is meant; undefined if it is. */
function wrongServer(host: string, role: ServerRole, certificate: PeerCertificate): Error | undefined {
  return checkServerIdentity(host, certificate) ?? wrongRole(host, role, certificate);
}

function wrongRole(host: string, role: ServerRole, certificate: PeerCertificate): Error | undefined {
  const found = identityOf(certificate.subjectaltname);
  if (found?.role === role) return undefined;
  return new Error(
    `the certificate of ${host} is ${found ? `that of a ${found.role}` : 'that of no role'}, and not of a ${role}`,
  );
}

function peerHost(peer: string): string {
  return peer.replace(/:\d+$/, '').replace(/^::ffff:/, '');
}

/** Our certificates as grpc-js wants them: always complete, and the same for both questions. */
function providerOf(certificates: Certificates): Provider {
  const wrapped = new Map<unknown, (loaded: Loaded) => void>();
  const add = (listener: unknown, tell: (loaded: Loaded) => void) => {
    wrapped.set(listener, tell);
    // Not at once: grpc-js (1.14) listens to what it is told only when it has asked for everything.
    queueMicrotask(() => {
      if (wrapped.get(listener) === tell) certificates.subscribe(tell);
    });
  };
  const remove = (listener: unknown) => {
    const tell = wrapped.get(listener);
    if (tell) certificates.unsubscribe(tell);
    wrapped.delete(listener);
  };
  return {
    addCaCertificateListener: listener =>
      add(listener, ({ ca }) => listener(ca === undefined ? null : { caCertificate: ca })),
    removeCaCertificateListener: remove,
    addIdentityCertificateListener: listener =>
      add(listener, ({ cert, key }) => listener({ certificate: cert, privateKey: key })),
    removeIdentityCertificateListener: remove,
  };
}
