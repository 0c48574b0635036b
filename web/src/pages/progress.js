// The progress of a job: one panel while it runs, changed in place so that nothing is announced
// twice or taken from under the pointer; one line when it has ended.

import { h } from '../dom.js';
import { clip, duration, integer, plural } from '../format.js';
import { isFinal, progressShare } from '../model.js';

const STATUS_WORDS = {
  live: 'Live.',
  reconnecting: 'Connection lost, reconnecting…',
  polling: 'The live stream cannot be kept; reading the job every 3 s instead.',
  offline: 'The server does not answer; trying again every 3 s.',
};

function headline(job) {
  if (job.state === 'queued') return 'Waiting in the queue';
  if (job.cancel_requested) return 'Cancelling';
  return `${Math.round(progressShare(job.progress) * 100)}% measured`;
}

const givenUp = (p) => (p.steps_given_up ? `, ${integer(p.steps_given_up)} given up` : '');

function counts(p) {
  const failed = p.steps_failed ? `, ${integer(p.steps_failed)} failed` : '';
  const discarded = p.steps_discarded ? `, ${integer(p.steps_discarded)} discarded` : '';
  return `${integer(p.steps_done)} of ${plural(
    p.steps_total ?? 0,
    'step',
  )}${failed}${discarded}${givenUp(p)}`;
}

function lastStep(step, names) {
  if (!step) return '';
  const threads = step.threads ? plural(step.threads, 'thread') : '';
  return clip(['last', step.workload, threads, names].filter(Boolean).join(' · '), 160);
}

function ended(job) {
  const p = job.progress ?? {};
  const seconds = (Date.parse(job.finished) - Date.parse(job.started)) / 1000;
  const took = Number.isFinite(seconds) ? `Took ${duration(seconds)}. ` : '';
  return h(
    'p',
    { class: 'small' },
    `${took}${integer(p.steps_done)} of ${plural(
      p.steps_total ?? 0,
      'step',
    )} done, ${integer(p.steps_failed)} failed, ${integer(p.steps_discarded)} discarded${givenUp(p)}.`,
  );
}

export class ProgressPanel {
  constructor(region) {
    this.region = region;
    this.headline = h('strong', {});
    this.left = h('span', {});
    this.bar = h('progress', { max: '100', 'aria-label': 'Steps done' });
    this.counts = h('span', {});
    this.last = h('bdi', { class: 'small' });
    this.status = h('p', { class: 'small', role: 'status', id: 'stream-status' });
    this.panel = h(
      'section',
      { class: 'card live', 'aria-label': 'Progress' },
      h('div', { class: 'title' }, this.headline, this.left),
      this.bar,
      h('p', {}, this.counts, ' ', this.last),
      this.status,
    );
  }

  /** names: subjects of the last step's cells, joined. */
  show(job, step, names, status) {
    if (isFinal(job.state)) {
      this.region.replaceChildren(ended(job));
      return;
    }
    const p = job.progress ?? {};
    const set = (node, text) => {
      if (node.textContent !== text) node.textContent = text;
    };
    set(this.headline, headline(job));
    set(this.left, Number.isFinite(p.seconds_left) ? `about ${duration(p.seconds_left)} left` : '');
    set(this.counts, counts(p));
    set(this.last, lastStep(step, names));
    set(this.status, STATUS_WORDS[status] ?? '');
    this.bar.value = Math.round(progressShare(p) * 100);
    if (!this.panel.isConnected) this.region.replaceChildren(this.panel);
  }
}
