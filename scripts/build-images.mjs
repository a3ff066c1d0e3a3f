// Builds images/NAME.bin from images/NAME.S, and the files that it includes, with the GNU assembler, linker and objcopy for x86-64.
//   node scripts/build-images.mjs          writes the images next to their sources
//   node scripts/build-images.mjs --check  compares instead; exit code 1 if one differs, 3 without binutils
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NAMES = ['minimal', 'fatal', 'triple-fault'];
const NO_BINUTILS = 3;
const folder = join(dirname(fileURLToPath(import.meta.url)), '..', 'images');
const native = process.platform === 'linux' && process.arch === 'x64';
const prefix = native ? '' : 'x86_64-linux-gnu-';

class NoBinutils extends Error {}

function run(tool, args) {
  const program = prefix + tool;
  const { error, status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (error?.code === 'ENOENT') throw new NoBinutils(`${program} is not installed: install GNU binutils for x86-64`);
  if (error || status !== 0) throw new Error(`${program} failed: ${error?.message ?? stderr}`);
}

function build(name, scratch) {
  const file = (extension) => join(scratch, `${name}.${extension}`);
  run('as', ['--64', '--fatal-warnings', '-I', folder, '-o', file('o'), join(folder, `${name}.S`)]);
  run('ld', ['-m', 'elf_x86_64', '-e', '0xfffffff0', '-T', join(folder, 'image.ld'), '-o', file('elf'), file('o')]);
  run('objcopy', ['-O', 'binary', '-j', '.image', file('elf'), file('bin')]);
  return readFileSync(file('bin'));
}

const check = process.argv.includes('--check');
const scratch = mkdtempSync(join(tmpdir(), 'kvm-tdx-images-'));
try {
  for (const name of NAMES) {
    const bytes = build(name, scratch);
    const path = join(folder, `${name}.bin`);
    if (!check) {
      writeFileSync(path, bytes);
      console.log(`images/${name}.bin: ${bytes.length} bytes`);
    } else if (!bytes.equals(readFileSync(path))) {
      console.error(`images/${name}.bin is not what images/${name}.S assembles to: run node scripts/build-images.mjs`);
      process.exitCode = 1;
    }
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = error instanceof NoBinutils ? NO_BINUTILS : 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
