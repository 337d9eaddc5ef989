import { addView, drawBoxes, fill, showAll, zoomBy } from './view.js';

const $ = (id) => document.getElementById(id);
const KINDS = ['first', 'second'];
const chosen = { first: null, second: null };
const folders = { first: [], second: [] };
let about = { models: [], protocols: [], pairs: [], tiles: [] };
let running = null;  // key of the job that is waited for
let sending = null;  // of the pairs of two folders, which can be given up
let boundary = null;  // picture of the comparison that is cut
const stages = {};

// ---- talking to the server
async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === 'AbortError') throw new Error('Canceled.');
    throw new Error('mmfusion serve does not answer; was it ended?');
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => ({ error: `unexpected answer (${answer.status})` }));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function say(text, bad = false) {
  $('message').textContent = text;
  $('message').classList.toggle('bad', bad);
}

// An action of the visitor: what goes wrong is said.
function action(work) {
  return async (...given) => {
    try {
      await work(...given);
    } catch (error) {
      say(error.message, true);
    }
  };
}

const forget = (key) => fetch(`uploads/${key}`, { method: 'DELETE' }).catch(() => {});

async function send(file, signal) {
  if (file.size > about.max_bytes) throw new Error(`${file.name} is larger than ${Math.round(about.max_bytes / 2 ** 20)} MiB; mmfusion serve --max-megabytes takes more`);
  return ask('uploads', { method: 'POST', body: file, headers: { 'x-file-name': encodeURIComponent(file.name) }, signal });
}

// ---- images
function choose(kind, upload) {
  if (chosen[kind] && chosen[kind].key !== upload.key) forget(chosen[kind].key);
  place(kind, upload);
}

function place(kind, upload) {
  chosen[kind] = upload;
  const drop = $(`drop-${kind}`);
  drop.querySelector('.name').textContent = `${upload.name}: ${upload.width} x ${upload.height}, ${upload.channels === 3 ? 'color' : 'gray'}, ${upload.bits} bit`;
  const image = drop.querySelector('img');
  image.src = `uploads/${upload.key}`;
  image.alt = upload.name;
  image.hidden = false;
  ready();
}

function ready() {
  const { first, second } = chosen;
  const busy = running !== null || sending !== null;
  $('fuse').disabled = !(first && second) || busy;
  $('fuse-folders').disabled = !matches().length || busy;
  $('cancel').disabled = !busy;
  const differ = first && second && (first.width !== second.width || first.height !== second.height);
  $('advice').hidden = !differ || $('registration').checked;
  $('advice').textContent = differ ? `The sizes differ (${first.width} x ${first.height} and ${second.width} x ${second.height}); tick "Register the second image onto the first" to fuse them all the same.` : '';
}

for (const kind of KINDS) {
  const drop = $(`drop-${kind}`), input = $(`file-${kind}`);
  const take = action(async (file) => {
    if (!file) return;
    say(`Sending ${file.name} ...`);
    choose(kind, await send(file));
    say('');
  });
  input.addEventListener('change', () => take(input.files[0]));
  drop.addEventListener('dragover', (event) => { event.preventDefault(); drop.classList.add('over'); });
  drop.addEventListener('dragleave', () => drop.classList.remove('over'));
  drop.addEventListener('drop', (event) => { event.preventDefault(); drop.classList.remove('over'); take(event.dataTransfer.files[0]); });
}
window.addEventListener('dragover', (event) => event.preventDefault());
window.addEventListener('drop', (event) => event.preventDefault());  // beside a place: not to be opened instead of the page

$('exchange').addEventListener('click', () => {
  const { first, second } = chosen;
  if (!(first && second)) return;
  place('first', second);
  place('second', first);
});

// ---- models and their options
function showModel() {
  const model = about.models.find(({ name }) => name === $('model').value);
  const terms = model.terms ? ` Terms: ${model.terms}` : '';
  const order = model.sources.length ? ` First is ${model.sources[0]}, second is ${model.sources[1]}.` : '';
  $('summary').textContent = `${model.summary}${/[.!]$/.test(model.summary) ? '' : '.'}${order}${terms}`;
  $('options').replaceChildren(...model.options.map((option) => {
    const label = document.createElement('label');
    label.append(`${option.name} `);
    if (option.choices) {
      const select = document.createElement('select');
      select.append(...option.choices.map((choice) => new Option(choice, choice, false, choice === option.default)));
      select.dataset.option = option.name;
      label.append(select);
    } else {
      const range = document.createElement('input'), output = document.createElement('output');
      Object.assign(range, { type: 'range', min: option.low, max: option.high, step: option.step, value: option.default });
      range.dataset.option = option.name;
      output.textContent = range.value;
      range.addEventListener('input', () => { output.textContent = range.value; });
      label.append(range, output);
    }
    return label;
  }));
}

function settings() {
  const options = {};
  for (const input of $('options').querySelectorAll('[data-option]')) options[input.dataset.option] = input.type === 'range' ? Number(input.value) : input.value;
  return { model: $('model').value, fuser_options: options, registration: $('registration').checked, stretch: $('stretch').checked, bits: $('deep').checked ? 16 : 8, tile: $('tile').value === 'auto' ? 'auto' : Number($('tile').value) || null };
}

// ---- jobs
async function run(request) {
  const { key } = await ask('jobs', { method: 'POST', body: JSON.stringify(request), headers: { 'content-type': 'application/json' } });
  running = key;
  const bar = $('progress');
  bar.hidden = false;
  bar.max = request.pairs.length;
  ready();
  try {
    for (;;) {
      const job = await ask(`jobs/${key}`);
      if (job.state === 'queued') say(job.before ? `${job.before} before this one ...` : 'Waiting ...');
      if (job.state === 'running') {
        const parts = [...(job.total > 1 ? [`${job.done} of ${job.total}`] : []), ...(job.tiles ? [`tile ${job.tiles[0]} of ${job.tiles[1]}`] : [])];
        say(parts.length ? `Fusing: ${parts.join(', ')} ...` : 'Fusing ...');
        if (parts.length) bar.value = job.done + (job.tiles ? job.tiles[0] / job.tiles[1] : 0); else bar.removeAttribute('value');
      }
      if (job.state === 'failed') throw new Error(job.error);
      if (job.state === 'canceled') throw new Error('Canceled.');
      if (job.state === 'done') return { key, ...job };
      await new Promise((wake) => setTimeout(wake, 200));
    }
  } finally {
    running = null;
    bar.hidden = true;
    ready();
  }
}

$('cancel').addEventListener('click', action(async () => { sending?.abort(); if (running) await ask(`jobs/${running}`, { method: 'DELETE' }); }));

$('fuse').addEventListener('click', action(async () => {
  const pairs = [[chosen.first.key, chosen.second.key]];
  const protocol = $('protocol').value;
  const job = await run({ ...settings(), pairs, metrics: protocol !== '', ...(protocol ? { protocol } : {}) });
  say('');
  showResult(job, protocol);
}));

// ---- the result of a pair
function showResult(job, protocol) {
  const result = job.results[0], { width, height } = result;
  const address = (kind) => `jobs/${job.key}/0/${kind}.png`;
  $('result').hidden = false;
  for (const kind of ['fused', ...KINDS]) fill(stages[kind], [address(kind)], width, height);
  const compare = () => {
    boundary = fill(stages.compare, [address($('under').value), address('fused')], width, height)[1];
    cut();
  };
  $('under').onchange = compare;
  compare();
  showLayers(result, address);
  $('facts').textContent = `${width} x ${height}, ${result.seconds} s` + (result.registration === undefined ? '' : `, registered with a confidence of ${result.registration}`);
  $('downloads').replaceChildren(...result.pictures.map((kind) => {
    const link = document.createElement('a');
    link.href = address(kind);
    link.download = `${result.name}_${kind}.png`;
    link.textContent = `Download ${kind} (png${kind === 'fused' && result.bits === 16 ? ', 16 bit' : ''})`;
    return link;
  }));
  const names = Object.keys(result.metrics ?? {}), cells = (kind, texts) => texts.map((text) => Object.assign(document.createElement(kind), { textContent: text }));
  $('metrics').hidden = !names.length;
  $('metrics').querySelector('caption').textContent = `Metrics, protocol "${protocol}"`;
  $('metrics').querySelector('thead tr').replaceChildren(...cells('th', names));
  $('metrics').querySelector('tbody tr').replaceChildren(...cells('td', names.map((name) => result.metrics[name] === null ? 'undefined' : result.metrics[name].toFixed(3))));
  $('command').textContent = job.command;
  showAll();
  $('result').scrollIntoView({ block: 'start' });
}

function showLayers(result, address) {
  const layers = $('layers');
  layers.replaceChildren();
  $('legend').replaceChildren();
  const box = (text) => {
    const label = document.createElement('label'), input = document.createElement('input');
    Object.assign(input, { type: 'checkbox', checked: true });
    label.append(input, ` ${text}`);
    layers.append(label);
    return input;
  };
  if (result.boxes) {
    const shown = box('boxes with a score of at least'), least = document.createElement('input');
    Object.assign(least, { type: 'number', min: 0.05, max: 1, step: 0.05, value: 0.3, ariaLabel: 'Least score' });
    layers.append(least);
    const draw = () => drawBoxes(stages.fused, shown.checked ? result.boxes : [], result.width, result.height, Number(least.value));
    shown.onchange = least.oninput = draw;
    draw();
  }
  if (result.classes) {
    const shown = box('class map'), image = document.createElement('img');
    Object.assign(image, { alt: '', src: address('classes'), className: 'half' });
    stages.fused.append(image);
    shown.onchange = () => { image.hidden = !shown.checked; };
    $('legend').append(...result.classes.map(({ name, color }) => {
      const entry = document.createElement('span'), swatch = document.createElement('span');
      swatch.className = 'swatch';
      swatch.style.backgroundColor = `rgb(${color.join(', ')})`;
      entry.append(swatch, name);
      return entry;
    }));
  }
}

function cut() {
  if (boundary) boundary.style.clipPath = `inset(0 0 0 ${$('boundary').value}%)`;
}
$('boundary').addEventListener('input', cut);
$('zoom-in').addEventListener('click', () => zoomBy(1.5));
$('zoom-out').addEventListener('click', () => zoomBy(1 / 1.5));
$('zoom-reset').addEventListener('click', showAll);
for (const name of ['compare', 'fused', ...KINDS]) stages[name] = addView($(`view-${name}`));

// ---- folders
const stem = (file) => file.name.replace(/\.[^.]*$/, '');
const isImage = (file) => /\.(png|jpe?g|bmp|tiff?)$/i.test(file.name);

function matches() {
  const partners = new Map(folders.second.map((file) => [stem(file), file]));
  return folders.first.filter((file) => partners.has(stem(file))).map((file) => [file, partners.get(stem(file))]);
}

for (const kind of KINDS) {
  $(`folder-${kind}`).addEventListener('change', (event) => {
    folders[kind] = [...event.target.files].filter(isImage).sort((a, b) => (a.name < b.name ? -1 : 1));
    const count = matches().length, alone = folders.first.length + folders.second.length - 2 * count;
    $('matched').textContent = folders.first.length && folders.second.length ? `${count} pairs${alone ? `, ${alone} images without partner are left out` : ''}` : '';
    ready();
  });
}

$('fuse-folders').addEventListener('click', action(async () => {
  const pairs = matches(), keys = [];
  $('archive').hidden = true;
  $('batch').replaceChildren();
  sending = new AbortController();
  ready();
  try {
    for (const [index, files] of pairs.entries()) {
      say(`Sending pair ${index + 1} of ${pairs.length} ...`);
      const sent = [];
      keys.push(sent);
      for (const file of files) sent.push((await send(file, sending.signal)).key);
    }
    const job = await run({ ...settings(), pairs: keys, metrics: false });
    const skipped = job.results.filter((result) => result.skipped);
    say(`${job.results.length - skipped.length} of ${job.results.length} pairs fused.`);
    $('batch').append(...job.results.map((result, index) => {
      const entry = document.createElement('li');
      if (result.skipped) entry.textContent = `${result.name}: left out, ${result.skipped}`;
      else {
        const link = document.createElement('a');
        Object.assign(link, { href: `jobs/${job.key}/${index}/fused.png`, textContent: result.name, download: `${result.name}.png` });
        entry.append(link);
      }
      return entry;
    }));
    $('archive').href = `jobs/${job.key}/all.zip`;
    $('archive').hidden = skipped.length === job.results.length;
  } finally {
    sending = null;
    ready();
    for (const sent of keys) sent.forEach(forget);
  }
}));

// ---- the beginning
$('registration').addEventListener('change', ready);
$('model').addEventListener('change', showModel);
action(async () => {
  about = await ask('models');
  $('model').append(...about.models.map(({ name }) => new Option(name, name)));
  $('tile').append(...about.tiles.map((side) => new Option(`${side} x ${side}`, side)));
  $('protocol').append(...about.protocols.map((name) => new Option(name, name)), new Option('none', ''));
  $('pairs').append(...about.pairs.map((name) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = name;
    button.addEventListener('click', action(async () => {
      say('Rendering ...');
      const [first, second] = await ask(`pairs/${name}`, { method: 'POST' });
      choose('first', first);
      choose('second', second);
      say('');
    }));
    return button;
  }));
  showModel();
  ready();
  document.body.dataset.ready = 'yes';
})();
