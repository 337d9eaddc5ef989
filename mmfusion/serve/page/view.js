// Views of one size that zoom and move together, with boxes and a boundary between two pictures.
const SVG = 'http://www.w3.org/2000/svg';
const views = [];
const place = { x: 0, y: 0, zoom: 1 };  // of the top left corner, in widths and heights of a view

function show() {
  for (const { stage, view } of views) {
    stage.style.transform = `translate(${-100 * place.x * place.zoom}%, ${-100 * place.y * place.zoom}%) scale(${place.zoom})`;
    view.classList.toggle('near', place.zoom >= 3);
    view.classList.toggle('whole', place.zoom === 1);  // a finger then scrolls the page
  }
}

function moveTo(x, y, zoom) {
  place.zoom = Math.min(32, Math.max(1, zoom));
  const most = 1 - 1 / place.zoom;
  place.x = Math.min(most, Math.max(0, x));
  place.y = Math.min(most, Math.max(0, y));
  show();
}

// Zoom by a factor; the point at (u, v) of a view, from 0 to 1, stays where it is.
export function zoomBy(factor, u = 0.5, v = 0.5) {
  const zoom = Math.min(32, Math.max(1, place.zoom * factor));
  moveTo(place.x + u / place.zoom - u / zoom, place.y + v / place.zoom - v / zoom, zoom);
}

export function showAll() {
  moveTo(0, 0, 1);
}

export function addView(view) {
  const stage = document.createElement('div');
  stage.className = 'stage';
  view.append(stage);
  views.push({ view, stage });
  view.addEventListener('wheel', (event) => {
    event.preventDefault();
    const { left, top, width, height } = view.getBoundingClientRect();
    zoomBy(event.deltaY < 0 ? 1.25 : 0.8, (event.clientX - left) / width, (event.clientY - top) / height);
  }, { passive: false });
  const held = new Map();  // fingers, or the mouse, by their number
  view.addEventListener('pointerdown', (event) => {
    view.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event);
  });
  view.addEventListener('pointermove', (event) => {
    if (!held.has(event.pointerId)) return;
    const { left, top, width, height } = view.getBoundingClientRect();
    const before = [...held.values()];
    held.set(event.pointerId, event);
    const now = [...held.values()];
    const middle = (events, name) => events.reduce((sum, each) => sum + each[name], 0) / events.length;
    const spread = ([one, other]) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const x = middle(now, 'clientX'), y = middle(now, 'clientY');
    moveTo(place.x - (x - middle(before, 'clientX')) / width / place.zoom, place.y - (y - middle(before, 'clientY')) / height / place.zoom, place.zoom);
    if (now.length === 2 && spread(before) > 0) zoomBy(spread(now) / spread(before), (x - left) / width, (y - top) / height);
  });
  for (const name of ['pointerup', 'pointercancel']) view.addEventListener(name, (event) => held.delete(event.pointerId));
  view.addEventListener('keydown', (event) => {
    const step = 0.1 / place.zoom;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) moveTo(place.x + moves[event.key][0], place.y + moves[event.key][1], place.zoom);
    else if (event.key === '+' || event.key === '=') zoomBy(1.25);
    else if (event.key === '-') zoomBy(0.8);
    else if (event.key === '0') showAll();
    else return;
    event.preventDefault();
  });
  return stage;
}

// Put pictures into a stage, one over the other; returns their elements.
export function fill(stage, addresses, width, height) {
  stage.replaceChildren();
  stage.parentElement.style.aspectRatio = `${width} / ${height}`;
  return addresses.map((address) => {
    const image = document.createElement('img');
    image.alt = '';
    image.draggable = false;
    image.src = address;
    stage.append(image);
    return image;
  });
}

export function drawBoxes(stage, boxes, width, height, least) {
  stage.querySelector('svg')?.remove();
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  for (const { box: [left, top, right, bottom], score, label } of boxes) {
    if (score < least) continue;
    const rect = document.createElementNS(SVG, 'rect');
    const values = { x: left, y: top, width: right - left, height: bottom - top, class: 'box' };
    for (const [name, value] of Object.entries(values)) rect.setAttribute(name, value);
    const text = document.createElementNS(SVG, 'text');
    text.setAttribute('class', 'box');
    text.setAttribute('x', left);
    text.setAttribute('y', Math.max(top - 3, 12));
    text.setAttribute('font-size', Math.max(10, width / 45));
    text.textContent = `${label} ${score.toFixed(2)}`;
    svg.append(rect, text);
  }
  stage.append(svg);
}
