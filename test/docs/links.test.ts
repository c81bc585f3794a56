/** The pages lead where they say: every relative link is to a file that is there, and every anchor to a heading of it. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';

const test = suite('documentation: links');
const root = fileURLToPath(new URL('../../../', import.meta.url));

/** README.md, docs/ and what is written beside the files of deploy/. */
function pages(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.md'))
    .map(name => join(folder, name));
}
const all = [join(root, 'README.md'), ...pages(join(root, 'docs')), ...pages(join(root, 'deploy'))];

/** The text without what is quoted as code. */
function prose(text: string): string {
  return text.replace(/^( *)```.*?^\1```$/gms, '').replace(/`[^`\n]*`/g, code => code.replace(/[()[\]]/g, '_'));
}

/** The anchors of a page, as GitHub makes them: from each heading, a repeated one with a number behind it. */
function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, heading = ''] of text.replace(/^( *)```.*?^\1```$/gms, '').matchAll(/^#{1,6} +(.+?) *$/gm)) {
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = words.replace(/[^\p{L}\p{N}_ -]/gu, '').replaceAll(' ', '-');
    const times = seen.get(anchor) ?? 0;
    seen.set(anchor, times + 1);
    anchors.add(times === 0 ? anchor : `${anchor}-${times}`);
  }
  return anchors;
}

/** What is wrong with the links of a page. */
function wrongLinks(page: string): string[] {
  const wrong: string[] = [];
  for (const [link, target = ''] of prose(readFileSync(page, 'utf8')).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? page : resolve(dirname(page), path);
    const complain = (what: string) => wrong.push(`${relative(root, page)}: ${link}: ${what}`);
    if (!existsSync(file)) complain('there is no such file');
    else if (!file.startsWith(root)) complain('it leads out of the project');
    else if (anchor !== undefined && statSync(file).isFile() && !anchorsOf(readFileSync(file, 'utf8')).has(anchor))
      complain('there is no such heading');
  }
  return wrong;
}

test('of every page, to files and headings that are there', () => {
  assert.ok(all.length > 10);
  assert.equal(all.flatMap(wrongLinks), []);
});

test('there is no page that no other page leads to', () => {
  const text = all.map(page => [dirname(page), prose(readFileSync(page, 'utf8'))] as const);
  const reached = new Set(
    text.flatMap(([folder, words]) =>
      [...words.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)].map(([, target = '']) => resolve(folder, target)),
    ),
  );
  reached.add(join(root, 'README.md'));
  assert.equal(
    all.filter(page => !reached.has(page)).map(page => relative(root, page)),
    [],
  );
});

test.run();
