// The client's Redux store and its React components.
//
// Neither is an interface of the client. What is used here was read from the pinned build alone, and the page
// starts no part of ours with another build.

const WAIT_FOR_LAYOUT_MS = 15_000;

let ready = null;

/** Return the client's store, or null while React has not rendered anything. */
export function findStore() {
  const root = document.getElementById("root");
  let fiber = root?._reactRootContainer?._internalRoot?.current;
  while (fiber) {
    const store = fiber.memoizedProps?.store;
    if (store?.dispatch) return store;
    fiber = fiber.child;
  }
  return null;
}

/**
 * Return a promise of the store, fulfilled once the first plot can be drawn and a view can be applied.
 *
 * It is rejected with an Error when the client cannot load the dataset.
 */
export function whenReady() {
  ready ??= whenFound().then(whenLoaded);
  return ready;
}

/**
 * Return the React component that has a method, looked for from an element upwards.
 *
 * @param {Element | null} element  rendered by the client
 * @param {string} method  name of a method of the component's class
 * @returns {object | null}
 */
export function componentOf(element, method) {
  if (!element) return null;
  const key = Object.keys(element).find((name) => name.startsWith("__reactFiber$"));
  let fiber = key && element[key];
  while (fiber) {
    if (typeof fiber.stateNode?.[method] === "function") return fiber.stateNode;
    fiber = fiber.return;
  }
  return null;
}

/**
 * Wait until the state is as wanted.
 *
 * @param {object} store
 * @param {(state: object) => boolean} isMet
 * @param {number} limitMs
 * @returns {Promise<boolean>}  false when the time was up
 */
export function until(store, isMet, limitMs) {
  return new Promise((resolve) => {
    let timer = 0;
    let unsubscribe = () => {};
    const look = () => {
      if (!isMet(store.getState())) return;
      clearTimeout(timer);
      unsubscribe();
      resolve(true);
    };
    timer = setTimeout(() => {
      unsubscribe();
      resolve(false);
    }, limitMs);
    unsubscribe = store.subscribe(look);
    look();
  });
}

function whenFound() {
  return new Promise((resolve) => {
    const look = () => {
      const store = findStore();
      if (store) resolve(store);
      else setTimeout(look, 50);
    };
    // The client renders while its deferred script runs, which is before this event.
    if (document.readyState === "complete") look();
    else document.addEventListener("DOMContentLoaded", look, { once: true });
  });
}

async function whenLoaded(store) {
  // The client chooses an embedding by itself, then once more when the server names a default one.
  const seen = [];
  const remember = (state) => {
    if (state.layoutChoice !== seen.at(-1)) seen.push(state.layoutChoice);
  };
  remember(store.getState());
  const stop = store.subscribe(() => remember(store.getState()));
  const before = seen.length;
  await until(store, ({ controls, layoutChoice }) => controls.error || (!controls.loading && layoutChoice.current), 1e9);
  const { controls, config, annoMatrix } = store.getState();
  if (controls.error) {
    stop();
    throw new Error("The web client could not load this dataset.");
  }
  const wanted = config?.parameters?.default_embedding;
  if (wanted && annoMatrix.schema.layout.obs.some(({ name }) => name === wanted)) {
    const choices = before + 2;
    await until(store, () => seen.length >= choices, WAIT_FOR_LAYOUT_MS);
  }
  stop();
  await whenDrawn();
  return store;
}

/** Wait until React has put the plot into the page, which is after the state says so. */
function whenDrawn() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.querySelector('[data-testid="layout-graph"]')) resolve();
      else setTimeout(look, 50);
    };
    look();
  });
}
