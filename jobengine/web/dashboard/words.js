// The server's errors in the words of the dashboard: no names of headers, calls or fields of the API.

/** Labels of the fields of the API, as they stand on the forms. */
const LABELS = {
  max_jobs: 'Job limit', require_lease: 'Require the lease', keep_minutes: 'Keep complete jobs', keep_failed_minutes: 'Keep failed jobs',
  timeout_seconds: 'Time-out', max_attempts: 'Attempts', retry_delay_seconds: 'Retry delay', delay_seconds: 'Delay', unique_key: 'Unique key',
  access_key: 'Key', new_access_key: 'New key', old_key_seconds: 'Seconds for which the old key stays valid', queue_name: 'Queue',
  limits: 'Limits', group_limits: 'Limits of each group', in_progress: 'Jobs in progress', rate: 'Claims', count: 'Claims', seconds: 'In how many seconds', weight: 'Weight',
  group: 'Group', group_order: 'Order of groups', group_on_failure: 'If a job fails, in strict order', target_wait_seconds: 'Target wait', held_until: 'Held until', order: 'Seconds per step of priority', seconds_per_priority: 'Seconds per step of priority',
  cron: 'Cron line', timezone: 'Time zone', every_seconds: 'Seconds between two times', if_running: 'If a job of the schedule is unfinished', missed: 'If times were missed',
  missed_seconds: 'Oldest missed time to fire', pause_after_failures: 'Pause after failures in a row',
  debounce: 'Debounce', at_most_seconds: 'Longest debounce, seconds', unique: 'Unique key', dead_letter: 'Dead-letter queue', move_to: 'To queue', per_second: 'Jobs per second', fingerprint: 'Fingerprint',
  depends_on: 'Dependencies', on_dependency_failure: 'If a dependency fails', batch: 'Batch',
  name: 'Name', priority: 'Priority', content: 'Content', tags: 'Tags', meta: 'Meta', error: 'Error', worker: 'Worker', q: 'Search', tag: 'Tag',
};

const KNOWN = [
  [/^A queue has either the group_order "fair".*$/s, 'Fair order among groups and seconds for each priority exclude each other: choose one of them.'],
  [/; create it with PUT \S+\.$/, '.'],
  [/; GET \S+ lists its schedules\.$/, '.'],
  [/^cron (?=')/, 'The cron line '],
  [/^timezone (?=')/, 'The time zone '],
  [/; send one that does in X-Access-Key\.$/, '.'],
  [/; send the server's in X-Admin-Key\.$/, '.'],
  [/^Send the server's admin key in X-Admin-Key\.$/, 'This needs the server’s admin key: sign in with it.'],
  [/^The header X-Access-Key is missing.*$/s, 'This needs the key of the queue: sign in with it.'],
  [/^This queue requires leases.*$/s, 'This queue requires the lease: only the worker that holds the job may change it while it is in progress.'],
  [/^(?:[a-z_]+(?:\[\d+\])?\.)*([a-z_]+)(?= (?:must|is|has|needs) )/, (found, name) => (LABELS[name] ? `“${LABELS[name]}”` : found)],
  [/[`“"]([a-z]\w*)[`”"]|\b([a-z]+(?:_[a-z]+)+)\b/g, (found, quoted, bare) => { const label = LABELS[quoted ?? bare]; return label ? `“${label}”` : found; }],
];

/** Whether a text has API terms; quoted parts come from users and do not count. */
const hasApiWords = (text) => /\b(?:GET|PUT|POST|DELETE|query parameter|header|body)\b|\/api\/|\bX-[A-Z]|`|\$\.|\b[a-z]+_[a-z_]+\b/.test(text.replace(/'[^']*'|“[^”]*”/g, ''));

const BY_STATUS = {
  400: 'The server can’t use this input.', 401: 'The key does not open this.', 403: 'This key may not do this.', 404: 'This was not found on the server; it may have been deleted.',
  409: 'This conflicts with the current state.', 413: 'This is too long.', 429: 'Too many requests; try again later.',
};

/** An error of the server, with its HTTP status, for people at the dashboard. */
export function inWordsOf(status, detail) {
  const text = KNOWN.reduce((before, [pattern, words]) => before.replace(pattern, words), detail);
  if (!hasApiWords(text)) return text;
  const label = /“[^”]+”/.exec(text)?.[0];
  return status === 400 && label ? `The server can’t use this input: check ${label}.` : BY_STATUS[status] ?? 'The server refused this.';
}
