// Entry of every page: which one stands in <body data-page>.

import { guard, shell } from './shell.js';
import { allocatorsPage } from './pages/allocators.js';
import { hostPage } from './pages/host.js';
import { jobPage } from './pages/job.js';
import { jobsPage } from './pages/jobs.js';
import { submitPage } from './pages/submit.js';

const pages = {
  index: jobsPage,
  job: jobPage,
  submit: submitPage,
  host: hostPage,
  allocators: allocatorsPage,
};
const page = document.body.dataset.page;
const main = shell(page);
guard(main, () => pages[page](main));
