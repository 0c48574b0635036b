// The fields of the submit form, drawn from the form's state and the API's rows. The page
// (submit.js) extends this with the request: body, cost, sending.

import { bdi, h, refill } from '../dom.js';
import { checkbox, field, group, setError } from '../fields.js';
import { bytes, clip, number } from '../format.js';
import { checkValue } from '../jobspec.js';

const PROFILES = [
  ['demo', 'demo: about two minutes'],
  ['quick', 'quick: a first look'],
  ['full', 'full: enough to report'],
];
const PLACEMENTS = ['compact', 'scatter', 'one-per-core', 'one-per-l3', 'numa-local', 'explicit'];
const LABELS = [
  ['project', 'Project'],
  ['commit', 'Commit'],
  ['parent', 'Parent commit'],
  ['branch', 'Branch'],
  ['tag', 'Tag'],
  ['sequence', 'Sequence number'],
  ['time', 'Commit time (RFC 3339)'],
];
const REPEAT = [
  ['rings', 'Rings', 'Fresh rings per cell: at least 10 to report, 20 to gate.'],
  ['rotations', 'Rotations', 'Turns each runner takes in a ring.'],
  ['slice_ops', 'Slice', 'Operations of one turn.'],
  ['blocks', 'Blocks', 'Repetitions of one-shot workloads.'],
];
const LIMITS = [
  ['memory_bytes', 'Memory', 'bytes per runner; 0 or empty: none'],
  ['turn_ms', 'Turn', 'ms a runner may hold the baton'],
  ['wall_s', 'Wall time', 's of one ring or trial'],
];

function rowHelp(row) {
  const parts = [row.help];
  if (row.type === 'size' && Number.isFinite(row.min))
    parts.push(`${bytes(row.min)} to ${bytes(row.max)}.`);
  else if (
    Number.isFinite(row.min) &&
    Number.isFinite(row.max) &&
    row.type !== 'boolean' &&
    row.type !== 'enum'
  )
    parts.push(`${number(row.min, 6)} to ${number(row.max, 6)}.`);
  if (row.default !== null && row.default !== undefined)
    parts.push(`Default ${row.type === 'size' ? bytes(row.default) : String(row.default)}.`);
  return parts.filter(Boolean).join(' ');
}

const splitList = (text) =>
  text
    .split(/[,;]/)
    .map((t) => t.trim())
    .filter(Boolean);

/**
 * state: of jobspec.js; workloads, allocators, presets: items of the API; form: the element.
 * The page gives changed() (state was edited), render(idToFocus) (structure was) and customise().
 */
export class SubmitForm {
  text(pointer, label, value, set, options = {}) {
    const input = h('input', {
      value,
      inputmode: options.numeric ? 'numeric' : null,
      maxlength: '4000',
      autocomplete: 'off',
      spellcheck: 'false',
      placeholder: options.placeholder,
      oninput: (e) => {
        set(e.target.value);
        setError(this.form, pointer, options.check?.(e.target.value) ?? '', 'check');
        this.changed();
      },
    });
    return field(pointer, label, input, options);
  }

  select(pointer, label, choices, value, set, options = {}) {
    return field(
      pointer,
      label,
      h(
        'select',
        {
          id: options.id ?? '',
          onchange: (e) => {
            set(e.target.value);
            this.changed();
          },
        },
        choices.map(([v, t]) => h('option', { value: v, selected: v === value }, t)),
      ),
      options,
    );
  }

  presetCard() {
    const { state } = this;
    const preset = this.presets.find((p) => p.name === state.preset);
    return h(
      'section',
      { class: 'card' },
      h('h2', {}, 'What to measure'),
      field(
        '/preset',
        'Start from',
        h(
          'select',
          {
            id: 'preset',
            onchange: (e) => {
              this.state.preset = e.target.value;
              if (e.target.value) this.state.workloads = [];
              this.render('preset');
            },
          },
          h('option', { value: '', selected: !state.preset }, 'My own choice of workloads'),
          this.presets.map((p) =>
            h(
              'option',
              { value: p.name, selected: p.name === state.preset },
              clip(p.title || p.name, 80),
            ),
          ),
        ),
        { help: preset?.summary ?? 'Choose workloads below, or a preset that already has them.' },
      ),
      preset &&
        h(
          'button',
          {
            type: 'button',
            id: 'customise',
            onclick: () => this.customise(),
          },
          'Edit this preset’s workloads',
        ),
      h(
        'div',
        { class: 'row' },
        this.select(
          '/profile',
          'Profile',
          PROFILES,
          state.profile,
          (v) => {
            state.profile = v;
          },
          { help: 'How often each cell is repeated.' },
        ),
        this.text(
          '/name',
          'Name',
          state.name,
          (v) => {
            state.name = v;
          },
          { help: 'Optional, for the list of jobs.' },
        ),
      ),
    );
  }

  paramField(entry, index, row) {
    const pointer = `/workloads/${index}/params/${row.name}`;
    const label = row.name.replaceAll('_', ' ');
    const set = (values) => {
      entry.params[row.name] = values;
    };
    const current = entry.params[row.name] ?? [];
    if (row.type === 'enum' || row.type === 'boolean') {
      const choices = row.type === 'boolean' ? ['false', 'true'] : (row.choices ?? []);
      return group(
        pointer,
        label,
        h(
          'div',
          { class: 'checks' },
          choices.map((c) =>
            checkbox(String(c), current.includes(String(c)), (on) => {
              const next = new Set(entry.params[row.name] ?? []);
              if (on) next.add(String(c));
              else next.delete(String(c));
              set(choices.map(String).filter((x) => next.has(x)));
              this.changed();
            }),
          ),
        ),
        rowHelp(row),
      );
    }
    return this.text(pointer, label, current.join(', '), (v) => set(splitList(v)), {
      unit: row.unit,
      help: rowHelp(row),
      numeric: row.type === 'integer',
      placeholder: row.type === 'size' ? bytes(row.default) : String(row.default ?? ''),
      check: (v) =>
        splitList(v)
          .map((t) => checkValue(row, t))
          .find(Boolean) ?? '',
    });
  }

  workloadEntry(entry, index) {
    const row = this.workloads.find((w) => w.name === entry.workload);
    const at = `/workloads/${index}`;
    if (!row)
      return h(
        'div',
        { class: 'entry', 'data-pointer': at },
        h('h3', {}, bdi(clip(entry.workload, 60))),
        h('p', { class: 'error' }, 'This server does not know this workload.'),
        this.removeButton(index),
      );
    return h(
      'div',
      { class: 'entry' },
      h('div', { class: 'title' }, h('h3', {}, row.name), this.removeButton(index)),
      h('p', { class: 'help' }, row.summary),
      h('div', { 'data-pointer': at }, h('p', { class: 'error', id: `entry-${index}-error` })),
      h(
        'div',
        { class: 'row' },
        row.params.map((p) => this.paramField(entry, index, p)),
      ),
      h(
        'div',
        { class: 'row' },
        this.text(
          `${at}/threads`,
          'Threads',
          entry.threads.join(', '),
          (v) => {
            entry.threads = splitList(v);
          },
          {
            help: `A list; “max” is every CPU the placement gives, “powers” is 1, 2, 4 and so on up to it.${row.threads_max ? ` At most ${row.threads_max}.` : ''} Default: the server’s choice.`,
            placeholder: '1, max',
            check: (v) =>
              splitList(v).every((t) => t === 'max' || t === 'powers' || /^[1-9]\d{0,4}$/.test(t))
                ? ''
                : 'whole numbers from 1, “max” or “powers”',
          },
        ),
        row.pages?.length > 0 &&
          group(
            `${at}/pages`,
            'Pages',
            h(
              'div',
              { class: 'checks' },
              row.pages.map((mode) =>
                checkbox(mode, entry.pages.includes(mode), (on) => {
                  entry.pages = row.pages.filter((m) =>
                    m === mode ? on : entry.pages.includes(m),
                  );
                  this.changed();
                }),
              ),
            ),
            'None checked: the workload’s default.',
          ),
      ),
    );
  }

  removeButton(index) {
    return h(
      'button',
      {
        type: 'button',
        class: 'quiet',
        onclick: () => {
          this.state.workloads.splice(index, 1);
          this.render('add-workload');
        },
      },
      'Remove',
      h('span', { class: 'sr' }, ` workload ${index + 1}`),
    );
  }

  workloadsCard() {
    if (this.state.preset) return null;
    const families = [...new Set(this.workloads.map((w) => w.family))];
    const select = h(
      'select',
      { id: 'add-workload' },
      families.map((family) =>
        h(
          'optgroup',
          { label: clip(family, 40) },
          this.workloads
            .filter((w) => w.family === family)
            .map((w) => h('option', { value: w.name }, clip(`${w.name} — ${w.summary}`, 90))),
        ),
      ),
    );
    return h(
      'section',
      { class: 'card', 'data-pointer': '/workloads' },
      h('h2', {}, 'Workloads'),
      h(
        'p',
        { class: 'help' },
        'Lists make a matrix: every value with every other, for every allocator.',
      ),
      h('p', { class: 'error', id: 'workloads-error' }),
      this.state.workloads.map((w, i) => this.workloadEntry(w, i)),
      h(
        'div',
        { class: 'add' },
        h('label', { for: 'add-workload' }, 'Add a workload'),
        select,
        h(
          'button',
          {
            type: 'button',
            id: 'add',
            onclick: () => {
              this.state.workloads.push({
                workload: select.value,
                params: {},
                threads: [],
                pages: [],
                repeats: '',
                rotations: '',
                slice_ops: '',
                rest: {},
              });
              this.render('add-workload');
            },
          },
          'Add',
        ),
      ),
    );
  }

  toggleSubject(name, options, on) {
    const same = (a) => a.name === name && a.options.join() === options.join();
    this.state.allocators = this.state.allocators.filter((a) => !same(a));
    if (on) this.state.allocators.push({ name, options });
    // The catalogue's order, whatever the order of the clicks.
    const rank = (a) => this.allocators.findIndex((x) => x.name === a.name);
    this.state.allocators.sort((a, b) => rank(a) - rank(b) || a.options.length - b.options.length);
    this.renderReference();
    this.changed();
  }

  allocatorRow(a) {
    const chosen = (options) =>
      this.state.allocators.some((s) => s.name === a.name && s.options.join() === options.join());
    const note = a.available
      ? clip(a.summary, 160)
      : `unavailable: ${clip(a.reason || (a.package ? `install ${a.package}` : 'not found on this host'), 200)}`;
    return h(
      'div',
      { class: 'allocator' },
      checkbox(a.name, chosen([]), (on) => this.toggleSubject(a.name, [], on), {
        disabled: !a.available && !chosen([]),
        note,
        value: a.name,
      }),
      a.available &&
        a.options?.length > 0 &&
        h(
          'div',
          { class: 'options' },
          a.options.map((o) =>
            checkbox(
              `+ ${o.name}`,
              chosen([o.name]),
              (on) => this.toggleSubject(a.name, [o.name], on),
              { note: clip(o.help, 160), value: `${a.name}+${o.name}` },
            ),
          ),
        ),
      // Combinations made elsewhere stay, and can be dropped.
      this.state.allocators
        .filter((s) => s.name === a.name && s.options.length > 1)
        .map((s) =>
          checkbox(`+ ${s.options.join(' + ')}`, true, (on) =>
            this.toggleSubject(a.name, s.options, on),
          ),
        ),
    );
  }

  allocatorsCard() {
    const kinds = [
      ['allocator', 'Allocators'],
      ['classic', 'Textbook designs'],
      ['baseline', 'What the harness costs'],
    ];
    const unknown = this.state.allocators.filter(
      (s) => !this.allocators.some((a) => a.name === s.name),
    );
    this.referenceBox = h('div', {});
    return h(
      'section',
      { class: 'card', 'data-pointer': '/allocators' },
      h('h2', {}, 'Allocators'),
      h('p', { class: 'help' }, 'None checked: the preset’s, or every available one.'),
      h('p', { class: 'error', id: 'allocators-error' }),
      kinds.map(([kind, title]) => {
        const rows = this.allocators.filter((a) => a.kind === kind);
        return (
          rows.length > 0 &&
          h(
            'fieldset',
            {},
            h('legend', {}, title),
            rows.map((a) => this.allocatorRow(a)),
          )
        );
      }),
      unknown.map((s) =>
        checkbox(clip(s.name, 60), true, (on) => this.toggleSubject(s.name, s.options, on), {
          note: 'this server does not know this allocator',
        }),
      ),
      this.referenceBox,
    );
  }

  renderReference() {
    const names = this.state.allocators.length
      ? this.state.allocators.map((a) => [a.name, ...a.options].join('+'))
      : this.allocators.filter((a) => a.available && a.kind !== 'baseline').map((a) => a.name);
    if (this.state.reference && !names.includes(this.state.reference))
      names.push(this.state.reference);
    refill(
      this.referenceBox,
      this.select(
        '/reference',
        'Reference',
        [['', 'the server’s choice'], ...names.map((n) => [n, n])],
        this.state.reference,
        (v) => {
          this.state.reference = v;
        },
        {
          id: 'reference',
          help: 'Stands twice in every ring: the difference between its copies is the noise.',
        },
      ),
    );
  }

  numbers(name, rows) {
    const values = this.state[name];
    return h(
      'div',
      { class: 'row' },
      rows.map(([key, label, help]) =>
        this.text(
          `/${name}/${key}`,
          label,
          values[key] ?? '',
          (v) => {
            values[key] = v.trim();
          },
          { help, numeric: true },
        ),
      ),
    );
  }

  placementRow() {
    const { state } = this;
    return h(
      'div',
      { class: 'row' },
      this.select(
        '/placement',
        'Policy',
        [['', 'the server’s default'], ...PLACEMENTS.map((p) => [p, p])],
        state.placement,
        (v) => {
          state.placement = v;
        },
        { help: 'Where threads go; the host page draws the host.' },
      ),
      this.text(
        '/cpuset',
        'CPUs',
        state.cpuset,
        (v) => {
          state.cpuset = v.trim();
        },
        { help: 'For “explicit”: a list such as 0-3,8.' },
      ),
      this.select(
        '/mode',
        'Mode',
        [
          ['', 'ring (default)'],
          ['ring', 'ring'],
          ['solo', 'solo'],
        ],
        state.mode,
        (v) => {
          state.mode = v;
        },
        { help: 'Solo runs each allocator alone: noisier, a check of the rings.' },
      ),
    );
  }

  advancedCard() {
    const { state } = this;
    const labels = LABELS.map(([key, label]) =>
      this.text(`/labels/${key}`, label, state.labels[key] ?? '', (v) => {
        state.labels[key] = v;
      }),
    );
    return h(
      'details',
      { class: 'card', id: 'advanced' },
      h('summary', {}, 'Labels, placement, repetitions, limits'),
      h('h3', {}, 'Labels'),
      h('div', { class: 'row' }, labels),
      h('h3', {}, 'Placement'),
      this.placementRow(),
      h('h3', {}, 'Repetitions'),
      this.numbers('repeat', REPEAT),
      h('h3', {}, 'Limits'),
      this.numbers('limits', LIMITS),
      this.text(
        '/seed',
        'Seed',
        state.seed,
        (v) => {
          state.seed = v.trim();
        },
        { help: 'Of operations and order. Same seed, same tapes.', numeric: true },
      ),
    );
  }
}
