// Actions on a batch of jobs.

import * as api from './api.js';
import { tell } from './dom.js';
import { jobs } from './format.js';
import { confirm } from './forms.js';

/** Confirm, then close the batch: it ends once all its jobs are finished. */
export function closeBatch(queue, { name, then }, done) {
  confirm(`Close the batch “${name}” of “${queue}”`, `The batch ends once all its jobs are finished${then ? '; then its last job runs' : ''}. It can’t be opened again.`, 'Close the batch', async () => {
    await api.changeBatch(queue, name, { open: false });
    tell(`${name}: closed.`);
    done();
  }, { danger: false });
}

/** Confirm, then close the batch and cancel its unfinished jobs. */
export function cancelBatch(queue, { name, queued, inprogress }, done) {
  confirm(`Cancel the batch “${name}” of “${queue}”`, `The batch is closed, and ${jobs(queued + inprogress)} will be cancelled: those that are queued fail now, and the workers of the others are asked to stop.`, 'Cancel the jobs', async () => {
    const { matched } = await api.changeBatch(queue, name, { cancel: true });
    tell(`${name}: ${jobs(matched)} cancelled.`);
    done();
  });
}

/** Confirm, then queue the failed jobs of the batch again. */
export function retryBatch(queue, { name, failed }, done) {
  confirm(`Retry the batch “${name}” of “${queue}”`, `${jobs(failed)} that failed will be queued again, as if never tried.`, 'Retry', async () => {
    const { matched } = await api.changeBatch(queue, name, { retry: true });
    tell(`${name}: ${jobs(matched)} queued again.`);
    done();
  }, { danger: false });
}
