(() => {
  const data = JSON.parse(document.getElementById('map-data').textContent);
  const byId = (id) => document.getElementById(id);
  const kindOf = new Map(data.kinds.map((kind) => [kind.id, kind]));

  /** An element; text is always text, never markup. */
  function make(tag, className, ...content) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...content);
    return element;
  }

  const has = (mask, bit) => ((mask >>> bit) & 1) === 1;
  const digits = (digitOf) => [28, 24, 20, 16, 12, 8, 4, 0].map(digitOf).join('');
  const nibble = (mask, low) => (mask >>> low) & 15;

  const requestedText = (asked) =>
    digits((low) => {
      if (!asked || nibble(asked.mask, low) === 0) return '\u00b7';
      return nibble(asked.unknown, low) ? '?' : nibble(asked.value, low).toString(16);
    });
  const foundText = ({ value, unknown, guest }) =>
    digits((low) => (nibble(unknown, low) ? '?' : nibble(guest, low) ? 'g' : nibble(value, low).toString(16)));

  const valueAt = (bits, bit) => {
    if (!bits) return 'not shown';
    if (has(bits.unknown, bit)) return 'unknown';
    return bits.guest !== undefined && has(bits.guest, bit) ? 'guest decides' : has(bits.value, bit) ? '1' : '0';
  };
  const requestedAt = (asked, bit) => (asked && has(asked.mask, bit) ? valueAt(asked, bit) : 'cannot be');

  // Everything that is known of a cell, by its element; rows hold their cells from bit 31 to bit 0.
  const bitOf = new WeakMap();
  const leaves = [];
  const cellAt = new Map();

  // Letter case, - and _ do not matter in a search.
  const plain = (text) => (text ?? '').toLowerCase().replace(/[-_]/g, '');
  const namesOf = ({ name, aliases }) => [name, ...(aliases ?? [])];

  function makeCell(leaf, register, field, bit) {
    const found = valueAt(register.guest, bit);
    const requested = requestedAt(register.requested, bit);
    const isNumber = (text) => text === '0' || text === '1';
    const differs = isNumber(found) && isNumber(requested) && found !== requested;
    const key = `${leaf.leaf.toString(16)}.${leaf.subleaf}.${register.register}.${bit}`;
    const place = `${leaf.text} ${register.register.toUpperCase()}`;
    const kind = kindOf.get(field.kind);
    const reason = data.reasons[field.reason];
    const info = { leaf, register, field, bit, key, place, kind, reason, found, requested, differs };
    info.text = [...namesOf(field), field.meaning, key, `${place}[${bit}]`].map(plain).join(' ');
    const cell = make('div', `cell k-${kind.id}`, kind.letter);
    cell.classList.toggle('one', found === '1');
    cell.classList.toggle('open', !isNumber(found));
    cell.classList.toggle('differs', differs);
    cell.classList.toggle('first', bit === field.high);
    cell.classList.toggle('byte', bit % 8 === 7);
    cell.setAttribute('role', 'gridcell');
    cell.dataset.bit = key;
    cell.tabIndex = -1;
    const asked = requested === 'cannot be' ? '' : `, requested ${requested}`;
    cell.setAttribute(
      'aria-label',
      `${place} bit ${bit}, ${field.name ?? 'no name'}: ${kind.label}, ${found}${asked}. ${reason}`,
    );
    bitOf.set(cell, info);
    cellAt.set(key, cell);
    return cell;
  }

  function makeLine(leaf, register, first) {
    const line = make('div', 'line');
    line.setAttribute('role', 'row');
    const place = make('span', 'place', first ? leaf.text : '');
    const name = make('span', 'name', register.register.toUpperCase());
    name.setAttribute('role', 'rowheader');
    name.setAttribute('aria-label', `${leaf.text} ${register.register.toUpperCase()}`);
    const cells = [];
    for (const field of register.fields)
      for (let bit = field.low; bit <= field.high; bit++) cells[31 - bit] = makeCell(leaf, register, field, bit);
    const asked = make('span', 'asked', requestedText(register.requested));
    const found = make('span', 'found', foundText(register.guest));
    for (const value of [asked, found]) value.setAttribute('role', 'gridcell');
    line.append(place, name, ...cells, asked, found);
    return { line, cells };
  }

  function makeHead() {
    const head = make('div', 'head');
    head.setAttribute('role', 'row');
    const titles = ['leaf', '', ...Array.from({ length: 32 }, (_, i) => String(31 - i)), 'requested', 'guest'];
    titles.forEach((title, i) => {
      const cell = make('span', i === 34 ? 'asked' : i === 35 ? 'found' : i === 0 ? 'found' : '', title);
      cell.setAttribute('role', 'columnheader');
      head.append(cell);
    });
    return head;
  }

  const map = byId('map');
  map.setAttribute('role', 'grid');
  map.setAttribute('aria-label', 'CPUID bits by leaf and register');
  map.setAttribute('aria-describedby', 'keys');
  map.append(makeHead());
  for (const leaf of data.leaves) {
    const block = make('div', 'leaf');
    block.setAttribute('role', 'rowgroup');
    const lines = leaf.registers.map((register, i) => makeLine(leaf, register, i === 0));
    block.append(...lines.map(({ line }) => line));
    map.append(block);
    leaves.push({ block, lines });
  }
  const allCells = leaves.flatMap(({ lines }) => lines.flatMap(({ cells }) => cells));

  // The subject.
  const module = data.module === null ? 'a TDX module without rules' : `TDX module ${data.module}`;
  byId('subject').textContent = `${data.host}: ${module}. Known: ${data.known.join(', ')}.`;
  const verdicts = { true: 'The configuration is accepted.', false: 'The configuration is refused.' };
  const verdict = byId('verdict');
  verdict.textContent = verdicts[String(data.accepted)] ?? 'Whether the configuration is accepted is not known.';
  verdict.classList.toggle('refused', data.accepted === false);
  for (const { severity, what, why, fix } of data.findings)
    verdict.after(make('p', 'muted', `${severity}: ${what}. Why: ${why} Fix: ${fix}`));
  const { attributes, xfam, gpaw, vcpus } = data.resolved;
  byId('config').textContent =
    `${JSON.stringify(data.config, null, 2)}\n\nATTRIBUTES ${attributes}   XFAM ${xfam}   GPAW ${gpaw}   vCPUs ${vcpus}`;

  // The bit that is pointed at or has the focus.
  function show(cell) {
    const { leaf, register, field, bit, place, kind, reason, found, requested } = bitOf.get(cell);
    const wide = field.high !== field.low;
    const range = wide ? `[${field.high}:${field.low}], bit ${bit}` : `[${bit}]`;
    const detail = byId('detail');
    const swatch = make('span', `swatch k-${kind.id}`, kind.letter);
    const head = make('tr', '', ...['', 'bit', leaf.text].map((text) => make('th', '', text)));
    head.lastChild.textContent = register.register.toUpperCase();
    const rows = [
      ['requested', requested, requestedText(register.requested)],
      ['in the TD', valueAt(register.stored, bit), register.stored ? foundText(register.stored) : 'not shown'],
      ['guest finds', found, foundText(register.guest)],
    ].map(([title, ...values]) => make('tr', '', make('th', '', title), ...values.map((v) => make('td', '', v))));
    detail.replaceChildren(
      make('h2', '', field.name ?? 'No name'),
      make('p', 'where', `${place}${range}`),
      make('p', '', field.meaning ?? ''),
      make('p', 'what', swatch, make('span', '', make('b', '', kind.label), `: ${kind.meaning}`)),
      make('p', 'reason', reason),
      make('table', '', make('thead', '', head), make('tbody', '', ...rows)),
    );
  }

  // Filters. What does not match is dimmed; registers without a match are hidden.
  const state = { kinds: new Set(), search: '', value: '' };
  const buttons = new Map();
  const matches = ({ field, text, found, differs }) => {
    if (state.kinds.size > 0 && !state.kinds.has(field.kind)) return false;
    if (state.search && !state.search.split(/\s+/).every((word) => text.includes(word))) return false;
    if (state.value === 'differs') return differs;
    return state.value === '' || found === { guest: 'guest decides' }[state.value] || found === state.value;
  };

  function filter() {
    let count = 0;
    for (const { block, lines } of leaves) {
      let some = false;
      for (const { line, cells } of lines) {
        let any = false;
        for (const cell of cells) {
          const match = matches(bitOf.get(cell));
          cell.classList.toggle('off', !match);
          any ||= match;
          count += Number(match);
        }
        line.hidden = !any;
        // The place stays readable where the first register is hidden.
        line.firstChild.textContent = any && !some ? bitOf.get(cells[0]).leaf.text : '';
        some ||= any;
      }
      block.hidden = !some;
    }
    for (const [id, button] of buttons) button.setAttribute('aria-pressed', String(state.kinds.has(id)));
    byId('count').textContent = `${count} of ${allCells.length} bits`;
    if (current?.parentElement.hidden) rove(firstMatch());
  }

  const counts = new Map();
  for (const cell of allCells) counts.set(bitOf.get(cell).kind.id, (counts.get(bitOf.get(cell).kind.id) ?? 0) + 1);
  for (const kind of data.kinds) {
    if (!counts.has(kind.id)) continue;
    const button = make('button', 'kind', make('span', `swatch k-${kind.id}`, kind.letter), kind.label);
    button.append(make('small', '', String(counts.get(kind.id))));
    button.type = 'button';
    button.title = kind.meaning;
    button.addEventListener('click', () => {
      if (!state.kinds.delete(kind.id)) state.kinds.add(kind.id);
      filter();
      remember();
    });
    buttons.set(kind.id, button);
    byId('kinds').append(button);
  }

  // Keyboard: one cell is in the order of tabs, arrows move it.
  let current;
  const shown = () => leaves.flatMap(({ lines }) => lines).filter(({ line }) => !line.hidden);
  const isMatch = (cell) => !cell.classList.contains('off');

  /** Whoever types a whole name means that bit. */
  function firstMatch() {
    const found = shown().flatMap(({ cells }) => cells.filter(isMatch));
    const named = (cell) => namesOf(bitOf.get(cell).field).some((name) => plain(name) === state.search);
    return (state.search && found.find(named)) || found[0];
  }

  function rove(cell, focus = false) {
    if (!cell) return;
    if (current) {
      current.tabIndex = -1;
      current.classList.remove('here');
    }
    current = cell;
    cell.tabIndex = 0;
    cell.classList.add('here');
    show(cell);
    if (focus && document.activeElement !== cell) cell.focus();
  }

  function target(key, ctrl) {
    const rows = shown();
    const y = rows.findIndex(({ cells }) => cells.includes(current));
    const x = rows[y]?.cells.indexOf(current) ?? 0;
    const at = (row, column) =>
      rows[Math.max(0, Math.min(rows.length - 1, row))]?.cells[Math.max(0, Math.min(31, column))];
    const leafOf = (row) => bitOf.get(row.cells[0]).leaf;
    const found = (step) => {
      const cells = rows.flatMap((row) => row.cells);
      for (let i = cells.indexOf(current) + step; i >= 0 && i < cells.length; i += step)
        if (isMatch(cells[i])) return cells[i];
      return current;
    };
    switch (key) {
      case 'ArrowLeft':
        return at(y, x - 1);
      case 'ArrowRight':
        return at(y, x + 1);
      case 'ArrowUp':
        return at(y - 1, x);
      case 'ArrowDown':
        return at(y + 1, x);
      case 'Home':
        return at(ctrl ? 0 : y, 0);
      case 'End':
        return at(ctrl ? rows.length - 1 : y, 31);
      case 'PageDown': {
        const next = rows.findIndex((row, i) => i > y && leafOf(row) !== leafOf(rows[y]));
        return at(next < 0 ? rows.length - 1 : next, x);
      }
      case 'PageUp': {
        const before = rows.slice(0, y).findLast((row) => leafOf(row) !== leafOf(rows[y]));
        return at(before ? rows.findIndex((row) => leafOf(row) === leafOf(before)) : 0, x);
      }
      case 'n':
      case 'N':
        return found(1);
      case 'p':
      case 'P':
        return found(-1);
      default:
        return undefined;
    }
  }

  map.addEventListener('keydown', (event) => {
    if (event.altKey || event.metaKey || !bitOf.has(event.target)) return;
    const cell = target(event.key, event.ctrlKey);
    if (!cell) return;
    event.preventDefault();
    rove(cell, true);
  });
  map.addEventListener('focusin', ({ target: cell }) => {
    if (!bitOf.has(cell)) return;
    rove(cell);
    remember();
  });
  map.addEventListener('click', ({ target: cell }) => bitOf.has(cell) && rove(cell, true));
  map.addEventListener('mouseover', ({ target: cell }) => bitOf.has(cell) && show(cell));
  map.addEventListener('mouseleave', () => current && show(current));

  const form = document.querySelector('form');
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('input', () => {
    state.search = plain(byId('search').value.trim());
    state.value = byId('value').value;
    filter();
    remember();
  });
  form.addEventListener('reset', () => {
    Object.assign(state, { kinds: new Set(), search: '', value: '' });
    filter();
    remember();
  });
  byId('search').addEventListener('keydown', (event) => {
    if (event.key === 'Enter') rove(firstMatch(), true);
  });
  byId('theme').addEventListener('change', () => {
    document.documentElement.dataset.theme = byId('theme').value;
    remember();
  });

  // The address remembers what is shown: #kind=xfam,allowed&search=AVX512&value=1&bit=7.0.ebx.16&theme=dark
  let remembered;
  function remember() {
    const parts = new URLSearchParams();
    if (state.kinds.size > 0) parts.set('kind', [...state.kinds].join(','));
    if (state.search) parts.set('search', byId('search').value.trim());
    if (state.value) parts.set('value', state.value);
    if (current) parts.set('bit', current.dataset.bit);
    if (byId('theme').value) parts.set('theme', byId('theme').value);
    remembered = `#${parts}`;
    history.replaceState(null, '', remembered);
  }

  function recall() {
    if (location.hash && location.hash === remembered) return;
    const parts = new URLSearchParams(location.hash.slice(1));
    const text = (name) => parts.get(name) ?? '';
    state.kinds = new Set(
      text('kind')
        .split(',')
        .filter((id) => kindOf.has(id)),
    );
    byId('search').value = text('search');
    state.search = plain(text('search').trim());
    byId('value').value = text('value');
    state.value = byId('value').value;
    byId('theme').value = text('theme');
    document.documentElement.dataset.theme = byId('theme').value;
    filter();
    const cell = cellAt.get(text('bit').toLowerCase());
    // A bit that the filters hide is shown, but Tab has to lead somewhere.
    const hidden = !cell || cell.parentElement.hidden;
    rove((hidden && firstMatch()) || cell || allCells[0]);
    if (cell) show(cell);
    if (cell) cell.scrollIntoView({ block: 'center' });
  }
  window.addEventListener('hashchange', recall);
  recall();
})();
