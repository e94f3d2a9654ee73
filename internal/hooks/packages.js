// Runs in each new runtime, before cube.js. It returns what fetch, and require of some packages, give.
(function (native) {
  class JsonWebTokenError extends Error {
    constructor(message) { super(message); this.name = 'JsonWebTokenError'; }
  }
  class TokenExpiredError extends JsonWebTokenError {
    constructor(message) { super(message); this.name = 'TokenExpiredError'; }
  }
  class NotBeforeError extends JsonWebTokenError {
    constructor(message) { super(message); this.name = 'NotBeforeError'; }
  }
  const errors = { JsonWebTokenError, TokenExpiredError, NotBeforeError };
  const verify = (token, key, options, done) => {
    if (typeof options === 'function') [options, done] = [undefined, options];
    const got = native.verify(token, key, options);
    const error = got.error && new errors[got.name](got.error);
    if (done) return done(error || null, got.payload);
    if (error) throw error;
    return got.payload;
  };
  const jsonwebtoken = {
    ...errors,
    decode: (token, options) => native.decode(token, options),
    verify,
    sign: () => { throw new TypeError('jsonwebtoken.sign is not available: hooks verify tokens and make none'); },
  };

  const headersOf = (all) => ({
    get: (name) => { const v = all[String(name).toLowerCase()]; return v === undefined ? null : v; },
    has: (name) => String(name).toLowerCase() in all,
  });
  const fetch = async (url, init) => {
    const r = await native.fetch(String(url), init);
    return {
      status: r.status, statusText: r.statusText, ok: r.status >= 200 && r.status < 300, url: r.url, headers: headersOf(r.headers),
      text: async () => r.body, json: async () => JSON.parse(r.body),
    };
  };

  const by = (f) => (typeof f === 'function' ? f : f !== null && typeof f === 'object' ? (x) => Object.keys(f).every((k) => x != null && x[k] === f[k]) : (x) => (x == null ? undefined : x[f]));
  const items = (v) => (v == null ? [] : Array.isArray(v) ? v : Object.values(v));
  const path = (p) => (Array.isArray(p) ? p : String(p).split(/[.[\]]+/).filter((s) => s !== ''));
  const step = (o, k) => (o == null || !Object.prototype.hasOwnProperty.call(Object(o), k) ? undefined : o[k]);
  const lodash = {
    find: (v, f) => items(v).find((x) => by(f)(x)),
    filter: (v, f) => items(v).filter((x) => by(f)(x)),
    map: (v, f) => items(v).map((x) => by(f)(x)),
    some: (v, f) => items(v).some((x) => by(f)(x)),
    every: (v, f) => items(v).every((x) => by(f)(x)),
    includes: (v, x) => (typeof v === 'string' ? v.includes(x) : items(v).includes(x)),
    get: (o, p, otherwise) => { const v = path(p).reduce(step, o); return v === undefined ? otherwise : v; },
    has: (o, p) => path(p).reduce(step, o) !== undefined,
    pick: (o, ...keys) => Object.fromEntries(keys.flat().filter((k) => step(o, k) !== undefined).map((k) => [k, o[k]])),
    omit: (o, ...keys) => Object.fromEntries(Object.entries(o || {}).filter(([k]) => !keys.flat().includes(k))),
    uniq: (v) => [...new Set(items(v))],
    isEmpty: (v) => v == null || (typeof v === 'string' ? v.length : Object.keys(v).length) === 0,
  };

  class UserError extends Error {
    constructor(message) { super(message); this.name = 'UserError'; }
  }
  class CubejsHandlerError extends Error {
    constructor(status, type, message) { super(message); this.name = 'CubejsHandlerError'; this.status = status; this.type = type; }
  }
  const gateway = { UserError, CubejsHandlerError };
  for (const o of [jsonwebtoken, lodash, gateway]) Object.freeze(o);
  return {
    fetch,
    packages: {
      jsonwebtoken, lodash, 'node-fetch': fetch, 'jwk-to-pem': native.pem,
      '@cubejs-backend/api-gateway': gateway, '@cubejs-backend/api-gateway/dist/src/UserError': gateway,
    },
  };
})
