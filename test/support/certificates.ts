/** Certificates for tests, made as `entrepot certs` makes them. */
import { issue, makeAuthority, type Pair } from '../../cli/certificates/authority.js';
import { type IssuedFiles, issuedFiles, writeIssued } from '../../cli/certificates/folder.js';
import type { Identity } from '../../lib/tls/identity.js';
import { temporaryFolder } from './tmp.js';

export class TestAuthority {
  readonly folder: string;
  readonly authority: Pair;

  static async make(): Promise<TestAuthority> {
    return new TestAuthority(await temporaryFolder('certs'), await makeAuthority(1));
  }

  private constructor(folder: string, authority: Pair) {
    this.folder = folder;
    this.authority = authority;
  }

  /** A certificate that is valid at 127.0.0.1 and localhost, or at other hosts. */
  pair(role: Identity['role'], name = 'test', hosts: readonly string[] = ['127.0.0.1', 'localhost']): Promise<Pair> {
    return issue(this.authority, { role, name, hosts, days: 1 });
  }

  /** The same as files; a second call with the same words replaces them. */
  async files(role: Identity['role'], name = 'test', hosts?: readonly string[]): Promise<IssuedFiles> {
    const files = issuedFiles(this.folder, { role, name });
    writeIssued(files, await this.pair(role, name, hosts), this.authority.cert);
    return files;
  }
}
