// Runs in each new runtime, before any script: nothing makes code from text.
(function () {
  const refuse = (name) => function () {
    throw new TypeError(name + ' is not available: scripts cannot make code from text');
  };
  for (const f of [function () {}, function* () {}, async function () {}]) {
    const prototype = Object.getPrototypeOf(f);
    const constructor = refuse('Function');
    Object.defineProperty(constructor, 'prototype', { value: prototype });
    Object.defineProperty(prototype, 'constructor', { value: constructor, configurable: true });
  }
  globalThis.Function = Function.prototype.constructor;
  globalThis.eval = refuse('eval');
})();
