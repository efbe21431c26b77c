// The messages of one filter: the newest first, older ones on request, new ones as they arrive.

const PAGE = 100;
const KEEP = 500;
const WAIT_SECONDS = 20;
const CENSUS_EVERY_MS = 2000;
const MAX_RETRY_MS = 8000;

export class Denied extends Error {}

export class Feed {
  messages = [];
  more = false;
  loaded = false;
  census = { channels: {}, apps: [] };
  #token;
  #changed;
  #state;
  #filter = {};
  #newest = 0;
  #stop = new AbortController();
  #censusAt = 0;
  #censusTimer = 0;

  /** changed(fresh): called after every change, with how many messages are new. state(word): live, offline or denied. */
  constructor(token, changed, state) {
    this.#token = token;
    this.#changed = changed;
    this.#state = state;
  }

  /** Show another filter ({channel, app, q}) from now on. */
  open(filter) {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#filter = filter;
    this.messages = [];
    this.more = this.loaded = false;
    this.#follow(this.#stop.signal);
  }

  /** Ask for nothing any more. */
  close() {
    this.#stop.abort();
    clearTimeout(this.#censusTimer);
  }

  /** Append the next page of older messages. */
  async older() {
    const signal = this.#stop.signal;
    const page = await this.#list({ before: this.messages.at(-1).n, limit: PAGE }, signal);
    if (signal.aborted) return;
    this.messages = [...this.messages, ...page.messages];
    this.more = page.more;
    this.#changed(0);
  }

  /** One message, whole. */
  whole(n) {
    return this.#get(`messages/${n}`);
  }

  async #follow(signal) {
    let retry = 500;
    while (!signal.aborted) {
      try {
        if (this.loaded) await this.#next(signal);
        else await this.#first(signal);
        retry = 500;
        this.#state("live");
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Denied) return this.#state("denied");
        this.#state("offline");
        await new Promise((resume) => setTimeout(resume, retry));
        retry = Math.min(retry * 2, MAX_RETRY_MS);
      }
    }
  }

  async #first(signal) {
    const page = await this.#list({ limit: PAGE }, signal);
    Object.assign(this, { messages: page.messages, more: page.more, loaded: true });
    this.#newest = page.newest;
    this.#changed(0);
    this.#count();
  }

  async #next(signal) {
    const page = await this.#list({ after: this.#newest, wait: WAIT_SECONDS, limit: PAGE }, signal);
    if (page.newest === this.#newest) return;
    if (page.newest < this.#newest) {
      // Another ledger: the sandbox began afresh.
      this.loaded = false;
      return;
    }
    this.#newest = page.newest;
    if (page.messages.length) {
      // With more in between than one page takes, what was shown is no longer what comes next.
      const kept = page.more ? [] : this.messages;
      const known = new Set(kept.map((message) => message.n));
      this.messages = [...page.messages.filter((message) => !known.has(message.n)), ...kept];
      this.more ||= page.more || this.messages.length > KEEP;
      this.messages.length = Math.min(this.messages.length, KEEP);
      this.#changed(page.messages.length);
    }
    this.#count();
  }

  /** Counts are made from all kept messages, so they are asked for at most every two seconds. */
  #count() {
    if (this.#censusTimer) return;
    const due = Math.max(0, this.#censusAt + CENSUS_EVERY_MS - Date.now());
    this.#censusTimer = setTimeout(async () => {
      this.#censusAt = Date.now();
      try {
        this.census = await this.#get("census");
        this.#changed(0);
      } catch {
        // The list says that the sandbox cannot be reached.
      }
      this.#censusTimer = 0;
    }, due);
  }

  #list(query, signal) {
    const fields = Object.entries({ ...this.#filter, ...query }).filter(([, value]) => value !== "");
    return this.#get(`messages?${new URLSearchParams(fields)}`, signal);
  }

  async #get(path, signal) {
    const response = await fetch(`api/${path}`, { headers: { authorization: `Bearer ${this.#token}` }, signal });
    if (response.status === 401) throw new Denied();
    if (!response.ok) throw new Error(`${response.status}`);
    return response.json();
  }
}
