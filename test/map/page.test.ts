import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { mapPage, pageData, scriptJson } from '../../src/cli/cpuid-map-page.js';
import { cpuidMap } from '../../src/cpuid/map/map.js';
import { type CpuidHost, evaluateCpuid } from '../../src/cpuid/questions/index.js';
import type { TdConfig } from '../../src/td/schema.js';
import { profileHost } from '../cpuid/model.js';
import { CHROMIUM, matchingCells, renderedDom, textOf } from './chromium.js';

const host = profileHost('spr-1.5.06');
const pageOf = (of: CpuidHost, config: TdConfig = {}): string => {
  const evaluation = evaluateCpuid(of, config);
  return mapPage(evaluation, cpuidMap(evaluation));
};
const EVIL = '</script><script>document.title="owned"</script><!-- <b>\u2028';

describe('the page', () => {
  const page = pageOf(host);

  it('is one file of less than 400 KB that names nothing outside of it', () => {
    expect(Buffer.byteLength(page)).toBeLessThan(400_000);
    const markup = page.replace(/<script type="application\/json"[\s\S]*?<\/script>/, '');
    expect(markup).not.toMatch(/https?:|\bsrc=|\bhref=|url\(|@import|fetch\(|XMLHttpRequest/);
  });

  it('has a policy that lets nothing else run or load', () => {
    const script = /<script>([\s\S]*?)<\/script>/.exec(page)![1]!;
    const hash = createHash('sha256').update(script).digest('base64');
    expect(page).toContain('default-src &#39;none&#39;');
    expect(page).toContain(`script-src &#39;sha256-${hash}&#39;;`);
  });

  it('has each reason once, and every bit of it a reason', () => {
    const evaluation = evaluateCpuid(host);
    const { reasons, leaves } = pageData(evaluation, cpuidMap(evaluation));
    expect(new Set(reasons).size).toBe(reasons.length);
    const used = leaves.flatMap(({ registers }) => registers.flatMap(({ fields }) => fields.map((f) => f.reason)));
    expect(new Set(used).size).toBe(reasons.length);
    expect(Math.max(...used)).toBe(reasons.length - 1);
  });

  it('lets no name end the script or begin markup', () => {
    const hostile = pageOf({ ...host, name: EVIL });
    expect(hostile.match(/<\/script>/g)).toHaveLength(2);
    expect(hostile).toContain('<title>CPUID of a TD: &lt;/script&gt;');
    expect(JSON.parse(scriptJson({ EVIL })).EVIL).toBe(EVIL);
    expect(scriptJson({ EVIL })).not.toMatch(/[<>\u2028]/);
  });
});

const browser =
  CHROMIUM === undefined ? 'the page in a browser (skipped: no Chromium in /usr/bin)' : 'the page in Chromium';

describe.skipIf(CHROMIUM === undefined)(browser, () => {
  const page = CHROMIUM === undefined ? '' : pageOf(host);

  it('draws every bit', () => {
    const dom = renderedDom(page);
    expect(matchingCells(dom)).toHaveLength(evaluateCpuid(host).registers.length * 32);
    expect(textOf(dom, 'subject', 'p')).toBe(
      'spr-1.5.06: TDX module 1.5.06. Known: rules (computed), processor, kernel.',
    );
    expect(dom.match(/tabindex="0"/g)).toHaveLength(1);
  });

  it('filters by kind, searches by name and shows the reason of a bit', () => {
    const dom = renderedDom(page, '#kind=xfam&search=AVX512F&bit=7.0.ebx.16');
    // AVX512F, and AVX512_FP16 begins like it.
    expect(matchingCells(dom)).toEqual(['7.0.ebx.16', '7.0.edx.23']);
    expect(textOf(dom, 'count', 'output')).toBe('2 of 8832 bits');
    const detail = textOf(dom, 'detail', 'section');
    expect(detail).toMatch(/^AVX512F 0x7\.0 EBX\[16\] AVX-512 foundation X XFAM-dependent :/);
    expect(detail).toContain('allowed: asked for 1, and the processor has it; XFAM has OPMASK, ZMM_HI256, HI16_ZMM');
    expect(detail).toContain('requested 1 ');
    expect(detail).toContain('guest finds 1 f1bf27e9');
  });

  it('finds a feature however it is spelt', () => {
    expect(matchingCells(renderedDom(page, '#search=amx-bf16'))).toEqual(['7.0.edx.22']);
  });

  it('shows what comes out otherwise than requested', () => {
    const narrow = pageOf(host, { xfam: ['AVX'], features: { AVX512F: true } });
    const dom = renderedDom(narrow, '#value=differs&search=avx512f');
    expect(matchingCells(dom)).toEqual(['7.0.ebx.16']);
    expect(textOf(dom, 'detail', 'section')).toMatch(/0: XFAM lacks .* requested 1 .* guest finds 0 /);
  });

  it('shows the bit that has the focus, moved by the arrows', () => {
    const dom = renderedDom(
      withKeys(page, ['ArrowRight', 'ArrowDown', 'ArrowDown', 'PageUp', 'PageDown', 'Home']),
      '#bit=7.0.ebx.16',
    );
    expect(/<body data-walk="([^"]*)"/.exec(dom)?.[1]).toBe(
      '7.0.ebx.15 7.0.ecx.15 7.0.edx.15 6.0.eax.15 7.0.eax.15 7.0.eax.31',
    );
    expect(textOf(dom, 'detail', 'section')).toContain('0x7.0 EAX');
  });

  it('goes from match to match with N and P', () => {
    const dom = renderedDom(withKeys(page, ['n', 'n', 'p']), '#search=avx512&bit=7.0.ebx.31');
    expect(/<body data-walk="([^"]*)"/.exec(dom)?.[1]).toBe('7.0.ebx.30 7.0.ebx.28 7.0.ebx.30');
  });

  it('runs nothing that a name contains', () => {
    const dom = renderedDom(pageOf({ ...host, name: EVIL }));
    expect(dom).toContain('<title>CPUID of a TD: &lt;/script&gt;');
    expect(textOf(dom, 'subject', 'p')).toContain('</script><script>document.title="owned"</script>');
  });

  it('runs no script that was added to it', () => {
    const added = '<script>document.title = "added"</script>';
    expect(renderedDom(page.replace('</body>', `${added}</body>`))).toContain(
      '<title>CPUID of a TD: spr-1.5.06</title>',
    );
  });
});

/** The page with somebody who presses keys, and notes where the focus is after each. */
function withKeys(page: string, keys: readonly string[]): string {
  const script = `
    document.querySelector('[tabindex="0"]').focus();
    document.body.dataset.walk = ${JSON.stringify(keys)}.map((key) => {
      document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
      return document.activeElement.dataset.bit;
    }).join(' ');`;
  const hash = createHash('sha256').update(script).digest('base64');
  return page
    .replace('script-src ', `script-src &#39;sha256-${hash}&#39; `)
    .replace('</body>', () => `<script>${script}</script></body>`);
}
