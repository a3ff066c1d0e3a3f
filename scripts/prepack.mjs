// What the published package needs besides dist/: the addon, prebuilt, so that nobody has to compile on install.
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const built = join(root, 'build', 'Release', 'kvm_tdx.node');
const target = join(root, 'prebuilds', 'linux-x64', 'kvm_tdx.node');

if (existsSync(built)) {
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(built, target);
  console.log('packed with the addon for linux-x64');
} else {
  console.warn(
    'packed WITHOUT the addon: build/Release/kvm_tdx.node is not there; the package will only have the model',
  );
}
