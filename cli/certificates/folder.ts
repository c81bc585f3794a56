/** Where certificates are kept: the authority's own folder, and in it one folder for each certificate, as a process wants it. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Identity } from '../../lib/tls/identity.js';
import type { Pair } from './authority.js';

/** The files of one certificate; named as cert-manager and Kubernetes name them in a secret. */
export interface IssuedFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface AuthorityFiles {
  readonly cert: string;
  readonly key: string;
}

/** Only the owner may read keys. */
const SECRET = 0o600;
const PUBLIC = 0o644;

export function authorityFiles(folder: string): AuthorityFiles {
  return { cert: resolve(folder, 'ca.crt'), key: resolve(folder, 'ca.key') };
}

export function issuedFiles(folder: string, { role, name }: Identity): IssuedFiles {
  const own = resolve(folder, `${role}-${name}`);
  return { ca: join(own, 'ca.crt'), cert: join(own, 'tls.crt'), key: join(own, 'tls.key') };
}

/** Throws if any of the files is there. */
export function refuseToOverwrite(files: object, advice: string): void {
  for (const file of Object.values(files)) {
    if (existsSync(file)) throw new Error(`${file} is there already, and is not overwritten: ${advice}`);
  }
}

/** The authority of a folder. */
export function readAuthority(folder: string): Pair {
  const { cert, key } = authorityFiles(folder);
  if (!existsSync(cert) || !existsSync(key))
    throw new Error(`there is no authority in ${folder}: make one with "entrepot certs init --out ${folder}"`);
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

export function writeAuthority(folder: string, authority: Pair): void {
  const files = authorityFiles(folder);
  write(files.key, authority.key, SECRET);
  write(files.cert, authority.cert, PUBLIC);
}

/** Each file is whole at every moment. Between the two the key is not the certificate's: processes wait for the second. */
export function writeIssued(files: IssuedFiles, pair: Pair, authority: string): void {
  write(files.ca, authority, PUBLIC);
  write(files.key, pair.key, SECRET);
  write(files.cert, pair.cert, PUBLIC);
}

function write(file: string, text: string, mode: number): void {
  mkdirSync(dirname(file), { recursive: true });
  const unfinished = `${file}.new`;
  rmSync(unfinished, { force: true });
  writeFileSync(unfinished, text, { mode, flag: 'wx', flush: true });
  renameSync(unfinished, file);
}
