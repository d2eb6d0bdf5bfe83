// The addresses within the page. They hold no key, so that each can be shared.

/** The address of a queue's page; `part` is errors, workers, settings, schedules, batches, groups or nothing, `query` a filter. */
export function queueLink(name, part = '', query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const rest = given.length ? `?${new URLSearchParams(given)}` : '';
  return `#/queue/${encodeURIComponent(name)}${part && `/${part}`}${rest}`;
}

export const jobLink = (name, uid) => queueLink(name, `job/${encodeURIComponent(uid)}`);

/** What an address names: `{page, queue, part, uid, query}`. */
export function routeOf(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const [page, ...rest] = path.split('/').map(decoded);
  const route = { page: page || 'queues', query: Object.fromEntries(new URLSearchParams(query)) };
  if (page !== 'queue') return route;
  return { ...route, queue: rest[0] ?? '', part: rest[1] ?? '', uid: rest[2] ?? '' };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The whole URL of an address within the page. */
export const whole = (link) => location.origin + location.pathname + link;
