/** `entrepot certs`: a private certificate authority, for those who have none. */
import { isIP } from 'node:net';
import { CERTIFICATE_ROLES, type CertificateRole, IDENTITY_NAME } from '../../lib/tls/identity.js';
import {
  authorityFiles,
  issuedFiles,
  readAuthority,
  refuseToOverwrite,
  writeAuthority,
  writeIssued,
} from '../certificates/folder.js';
import { type Command, type Given, UsageError } from '../command.js';

const AUTHORITY_DAYS = 3_650;
const CERTIFICATE_DAYS = 365;

/** Loaded when it is needed only: no other command is to wait for it. */
const library = () => import('../certificates/authority.js');

const out = {
  type: 'string',
  short: 'o',
  placeholder: 'DIR',
  help: 'the folder of the authority; required',
} as const;

export const certsInit: Command = {
  name: 'certs init',
  summary: 'Make a private certificate authority.',
  description: [
    'Writes ca.crt, which every process needs, and ca.key, which none does: whoever has ca.key can pose',
    'as any of them. Keep the folder off the machines that serve. Nothing is overwritten.',
    'Exit status: 0 it is made, 1 it is not, 2 the command was called wrongly.',
  ].join('\n'),
  options: {
    out,
    days: { type: 'string', placeholder: 'N', help: `how long it is valid (default: ${AUTHORITY_DAYS})` },
  },
  async run(given) {
    const folder = textOf(given, 'out');
    const days = daysOf(given, AUTHORITY_DAYS);
    const files = authorityFiles(folder);
    refuseToOverwrite(files, 'choose another folder, or move it away');
    writeAuthority(folder, await (await library()).makeAuthority(days));
    console.log(`made an authority, valid for ${days} days:`);
    console.log(`  ${files.cert}`);
    console.log(`  ${files.key}`);
    console.log('next: entrepot certs issue, for each process and administrator');
    return 0;
  },
};

export const certsIssue: Command = {
  name: 'certs issue',
  summary: 'Issue a certificate for a process or an administrator.',
  description: [
    'Writes a folder DIR/ROLE-NAME with tls.crt, tls.key and ca.crt, and prints which keys of the',
    'configuration to set. A storage-proxy and a worker need --host: what the others reach them by, as in',
    "ENTREPOT_LOCATIONS and ENTREPOT_WORKER_ADVERTISE. With --host, a gateway's can serve HTTPS, too.",
    'Nothing is overwritten, unless --renew asks for it: processes notice by themselves.',
    'Exit status: 0 it is issued, 1 it is not, 2 the command was called wrongly.',
  ].join('\n'),
  options: {
    out,
    role: { type: 'string', placeholder: 'ROLE', help: `one of ${CERTIFICATE_ROLES.join(', ')}; required` },
    name: { type: 'string', placeholder: 'NAME', help: 'which of them, for example us-1; required' },
    host: {
      type: 'string',
      placeholder: 'HOST',
      multiple: true,
      help: 'a host name or an IP address (several: repeat it, or separate them by commas)',
    },
    days: { type: 'string', placeholder: 'N', help: `how long it is valid (default: ${CERTIFICATE_DAYS})` },
    renew: { type: 'boolean', help: 'replace the one that is there' },
  },
  async run(given) {
    const folder = textOf(given, 'out');
    const role = roleOf(textOf(given, 'role'));
    const name = textOf(given, 'name');
    if (!IDENTITY_NAME.test(name))
      throw new UsageError('--name has at most 63 letters and digits, with . _ - between them');
    const hosts = hostsOf(given);
    if ((role === 'storage-proxy' || role === 'worker') && hosts.length === 0)
      throw new UsageError(`a ${role} needs --host: what the others reach it by`);
    const days = daysOf(given, CERTIFICATE_DAYS);
    const authority = readAuthority(folder);
    const files = issuedFiles(folder, { role, name });
    if (!given.renew) refuseToOverwrite(files, 'add --renew to replace it');
    writeIssued(files, await (await library()).issue(authority, { role, name, hosts, days }), authority.cert);
    console.log(`issued a certificate for the ${role} ${name}, valid for ${days} days at the most. Its configuration:`);
    console.log(`  ENTREPOT_GRPC_TLS_CA: ${files.ca}`);
    console.log(`  ENTREPOT_GRPC_TLS_CERT: ${files.cert}`);
    console.log(`  ENTREPOT_GRPC_TLS_KEY: ${files.key}`);
    if (role === 'administrator')
      console.log(`and in that of all workers, in the list of ENTREPOT_ADMINISTRATORS: ${name}`);
    return 0;
  },
};

function textOf(given: Given, option: string): string {
  const value = given[option];
  if (typeof value === 'string' && value !== '') return value;
  throw new UsageError(`--${option} is missing`);
}

function roleOf(text: string): CertificateRole {
  const role = CERTIFICATE_ROLES.find(known => known === text);
  if (!role) throw new UsageError(`there is no role ${text}; it is one of ${CERTIFICATE_ROLES.join(', ')}`);
  return role;
}

function daysOf(given: Given, absent: number): number {
  if (given.days === undefined) return absent;
  const days = Number(given.days);
  if (Number.isInteger(days) && days >= 1 && days <= 36_500) return days;
  throw new UsageError('--days must be a whole number from 1 to 36500');
}

const HOST_NAME =
  /^(?=.{1,253}$)(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/;

function hostsOf(given: Given): string[] {
  const { host: texts } = given;
  const hosts = (Array.isArray(texts) ? texts : []).flatMap(text => text.split(',')).map(text => text.trim());
  for (const host of hosts) {
    // Four numbers that are no IPv4 address would otherwise pass as a host name.
    if (isIP(host) === 0 && (!HOST_NAME.test(host) || /^[0-9.]+$/.test(host)))
      throw new UsageError(`--host ${JSON.stringify(host)} is neither a host name nor an IP address (without a port)`);
  }
  return [...new Set(hosts)];
}
