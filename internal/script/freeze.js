// Runs in each runtime that is kept for several calls, before any script. It makes what the language comes with
// unchangeable: neither a script nor a value with "__proto__" in it can change what the next call sees.
(function () {
  // An object may have a property of its own with a name that its prototype has. Where that is common, the properties
  // of the prototype are accessors, as an inherited one that cannot be written could not be shadowed by assignment.
  const shadowed = (o, keys) => {
    for (const key of keys) {
      const d = Object.getOwnPropertyDescriptor(o, key);
      if (!d || !d.configurable || !('value' in d)) continue;
      const value = d.value;
      Object.defineProperty(o, key, {
        get() { return value; },
        set(v) {
          if (this === o) throw new TypeError('builtin objects cannot be changed');
          Object.defineProperty(this, key, { value: v, writable: true, enumerable: true, configurable: true });
        },
        enumerable: d.enumerable,
        configurable: false,
      });
    }
  };
  for (const c of [Object, Error, TypeError, RangeError, SyntaxError, ReferenceError]) {
    shadowed(c.prototype, Reflect.ownKeys(c.prototype));
  }
  for (const c of [Function, Array, Date, Promise]) shadowed(c.prototype, ['constructor', 'toString']);

  const seen = new Set();
  const freeze = (v) => {
    if (v === null || (typeof v !== 'object' && typeof v !== 'function') || seen.has(v)) return;
    seen.add(v);
    if (v !== globalThis) Object.freeze(v);
    freeze(Object.getPrototypeOf(v));
    for (const key of Reflect.ownKeys(v)) {
      const d = Object.getOwnPropertyDescriptor(v, key);
      freeze(d.value);
      freeze(d.get);
      freeze(d.set);
    }
  };
  freeze(globalThis);
  for (const v of [function* () {}, async function () {}, [][Symbol.iterator](), ''[Symbol.iterator](), new Map()[Symbol.iterator](),
    new Set()[Symbol.iterator](), (function* () {})(), /a/[Symbol.matchAll]('')]) {
    freeze(Object.getPrototypeOf(v));
  }
  for (const key of Reflect.ownKeys(globalThis)) {
    const d = Object.getOwnPropertyDescriptor(globalThis, key);
    if (d.configurable && 'value' in d) Object.defineProperty(globalThis, key, { writable: false, configurable: false });
  }
})();
