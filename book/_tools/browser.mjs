// Reads the built book as a reader's browser does, from file://, and reports whatever is wrong with it.
//
//   node book/_tools/browser.mjs [--html _build/html] [--screenshots _build/screenshots] [--every-word] [--self-test]
//
// Over every page: no request leaves the machine, nothing is logged as an error, every formula is rendered, every
// figure has a description and a numbered caption, links and anchors lead somewhere, nothing overflows a 375 px screen,
// axe-core finds nothing serious or critical in light or dark, and search finds what is there and nothing else.
// Of words that are painted alike axe-core measures the contrast of one; --every-word has it measure each.
// Exit status: 0 clean, 1 findings, 2 something to install.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '../..');
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 375, height: 800 };
const FOUND_QUERIES = ['entropy', 'covariance', 'softmax'];
const SHOWN = 12; // findings printed for each page
const ABSENT_QUERY = 'qzxvkwj';
const COLOUR_RULES = ['color-contrast', 'link-in-text-block']; // the rules of axe-core that read a colour
const CHROMIUM_FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

// ------------------------------------------------------------------------------------------------ what is needed

function need(name) {
  const places = [ROOT, ...(process.env.NODE_PATH ?? '').split(delimiter).filter(Boolean)];
  for (const place of places) {
    const modules = basename(place) === 'node_modules' ? place : join(place, 'node_modules');
    if (existsSync(join(modules, name))) return createRequire(join(modules, 'x.js')).resolve(name);
  }
  stop(`${name} is missing. In the project folder: npm install --no-save playwright-core@1.65.1 axe-core@4.14.1`);
}

function chromium() {
  const places = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const found = places.find((place) => place && existsSync(place));
  return found ?? stop('Chromium is missing. Debian and Ubuntu: apt-get install chromium. Elsewhere: set CHROMIUM to its path.');
}

function stop(message) {
  console.error(message);
  process.exit(2);
}

// ------------------------------------------------------------------------------------ looked at inside the page

/** Everything about one page that its own document can tell. Runs in the browser. */
function inspect() {
  const findings = [];
  const find = (kind, text) => findings.push([kind, text.replace(/\s+/g, ' ').slice(0, 160)]);
  const main = document.querySelector('main') ?? document.body;

  const formulas = [...document.querySelectorAll('.math')];
  for (const node of formulas)
    if (!node.querySelector('mjx-container')) find('formula', `not rendered: ${node.textContent}`);
  for (const node of document.querySelectorAll('mjx-merror, [data-mml-node="merror"], [data-mml-node="mtext"][fill="red"]'))
    find('formula', `MathJax error: ${node.closest('mjx-container')?.textContent ?? node.textContent}`);
  const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode()); )
    if (/\\[([]|\$\$|\\begin\{/.test(text.data) && !text.parentElement.closest('pre, code, script, style, mjx-container'))
      find('formula', `left as text: ${text.data}`);

  const hashed = /\.(png|svg|jpe?g|gif|webp)\b|_images\/|[0-9a-f]{16}/i;
  const pictures = [...main.querySelectorAll('img, svg')].filter(
    (node) => !node.closest('mjx-container, [aria-hidden="true"], button, a.headerlink, .sd-octicon') && !node.parentElement.closest('svg'),
  );
  for (const node of pictures) {
    const alt = (node.getAttribute('aria-label') ?? node.getAttribute('alt') ?? '').trim();
    if (alt.length < 15) find('alt', `no description: ${node.outerHTML.slice(0, 80)}`);
    else if (hashed.test(alt)) find('alt', `a file name is no description: ${alt}`);
    if (node.matches('svg') && node.getAttribute('role') !== 'img') find('alt', `svg without role=img: ${alt}`);
  }
  for (const node of main.querySelectorAll('.themed-figure, .output img'))
    if (!/\d/.test(node.closest('figure')?.querySelector('figcaption .caption-number')?.textContent ?? ''))
      find('caption', `figure without numbered caption: ${node.querySelector('svg')?.getAttribute('aria-label') ?? node.outerHTML}`);

  const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
  const twice = ids.filter((id, k) => ids.indexOf(id) !== k && main.querySelector(`svg [id="${CSS.escape(id)}"]`));
  for (const id of new Set(twice)) find('id', `two drawings share the id ${id}`);

  const links = [...document.querySelectorAll('a[href]')].map((node) => node.href).filter((href) => href.startsWith('file:'));
  return { findings, formulas: formulas.length, figures: pictures.length, ids, links: [...new Set(links)] };
}

/** What sticks out of a narrow screen: the innermost element without which nothing would. Runs in the browser. */
function overflowing() {
  const root = document.documentElement;
  const fits = () => root.scrollWidth <= root.clientWidth;
  const fitsWithout = (node) => {
    const shown = node.style.cssText;
    node.style.setProperty('display', 'none', 'important');
    const answer = fits();
    node.style.cssText = shown;
    return answer;
  };
  if (fits()) return [];
  let culprit = document.body;
  for (let inner = culprit; inner; inner = [...culprit.children].find(fitsWithout)) culprit = inner;
  const { tagName, className, textContent } = culprit;
  return [`${tagName.toLowerCase()} ${className}: ${textContent.trim().replace(/\s+/g, ' ').slice(0, 80)}`];
}

/** A number for all that the page holds, where it stands and whether it is seen: for all but its colours. Runs in the browser. */
function shapeOf() {
  let hash = 0;
  const add = (text) => {
    for (let k = 0; k < text.length; k++) hash = (Math.imul(hash, 31) + text.charCodeAt(k)) | 0;
  };
  for (const node of document.querySelectorAll('*')) {
    const { x, y, width, height } = node.getBoundingClientRect();
    const seen = node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    add(`${node.tagName} ${x} ${y} ${width} ${height} ${seen}`);
    for (const { name, value } of node.attributes) if (!['data-theme', 'data-alike'].includes(name)) add(`${name} ${value}`);
  }
  add(document.documentElement.textContent);
  return hash;
}

/**
 * Marks words whose contrast that of an earlier word settles, so that axe-core measures one word of each kind. Runs in the browser.
 *
 * Two words are of one kind if they and all elements around them, up to the root, have the same styles. What is painted
 * under a word is then the same as well, unless something else lies there: so a word counts only if its text stays
 * within every box around it that paints or clips, and touches nothing that is out of the flow or sticks out of its box.
 */
function markAlike() {
  const AROUND = ['display', 'position', 'overflow', 'opacity', 'mixBlendMode', 'backgroundColor', 'backgroundImage'];
  const OWN = ['color', 'visibility', 'fontSize', 'fontWeight', 'textShadow', 'webkitTextStroke', 'textIndent'];
  const numbers = new Map();
  const numberOf = (text) => numbers.get(text) ?? numbers.set(text, numbers.size).get(text);
  const boxOf = ({ left, top, right, bottom }) => [left, top, right, bottom];
  const union = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
  const common = (a, b) => [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
  const within = (a, b, by = 0) => a[0] >= b[0] - by && a[1] >= b[1] - by && a[2] <= b[2] + by && a[3] <= b[3] + by;
  const touch = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  const range = document.createRange();
  const words = [], loose = [];
  let place = 0;

  /** Notes the words in an element and what is loose in it; returns the box of all it holds. */
  function visit(node, outer, room) {
    const style = getComputedStyle(node), box = boxOf(node.getBoundingClientRect()), first = place++;
    if (style.display === 'none') return null;
    const drawing = node.matches('svg, mjx-container, input, select, textarea, button, label, iframe, img');
    const behind = ['::before', '::after'].some((part) => {
      const { content, position } = getComputedStyle(node, part);
      return content !== 'none' && position === 'absolute';
    });
    const around = AROUND.map((name) => style[name]);
    const kind = outer === null || behind || style.clipPath !== 'none' ? null : numberOf([outer, ...around].join());
    const bounds = style.overflow !== 'visible' || style.backgroundColor !== 'rgba(0, 0, 0, 0)' || style.backgroundImage !== 'none';
    const inside = bounds && node !== document.body ? common(room, box) : room;
    let held = box[0] < box[2] && box[1] < box[3] ? box : null;
    if (!drawing)
      for (const child of node.children) {
        const part = visit(child, kind, inside);
        if (part) held = held ? union(held, part) : part;
      }
    const text = node.textContent.trim();
    if (!drawing && !node.children.length && text && kind !== null) {
      range.selectNodeContents(node);
      const area = boxOf(range.getBoundingClientRect());
      if (area[0] < area[2] && within(area, inside, 1)) words.push({ node, kind: [kind, ...OWN.map((name) => style[name])].join(), text, area, first });
    }
    const flows = style.position === 'static' && style.float === 'none' && style.transform === 'none' && !/-\d/.test(style.margin);
    if (held && !(flows && within(held, box, 4))) loose.push({ held, first, last: place });
    return held;
  }
  const { scrollWidth, scrollHeight } = document.documentElement;
  visit(document.body, 0, [0, 0, scrollWidth, scrollHeight]);

  const STRIP = 400, strips = new Map();
  for (const thing of loose)
    for (let k = Math.floor(thing.held[1] / STRIP); k <= thing.held[3] / STRIP; k++) strips.set(k, [...(strips.get(k) ?? []), thing]);
  const free = ({ area, first }) => {
    for (let k = Math.floor(area[1] / STRIP); k <= area[3] / STRIP; k++)
      for (const { held, first: from, last } of strips.get(k) ?? []) if (!(from <= first && first < last) && touch(area, held)) return false;
    return true;
  };
  for (const node of document.querySelectorAll('[data-alike]')) node.removeAttribute('data-alike');
  if (document.querySelector(':disabled, [aria-disabled=true], [inert]')) return;
  const measured = new Set(), plain = words.filter(free);
  for (const { node, kind, text } of plain)
    if (measured.has(kind)) node.setAttribute('data-alike', '');
    else if (/[a-z0-9]{2}/i.test(text)) measured.add(kind);
}

/** Runs axe-core without the rules whose findings are never serious, or with the given rules only. Runs in the browser. */
async function lookWithAxe(rules) {
  axe.configure({ rules: [{ id: 'color-contrast', selector: '*:not([data-alike])' }] });
  const mild = axe._audit.rules.filter(({ impact }) => ['minor', 'moderate'].includes(impact)).map(({ id }) => [id, { enabled: false }]);
  const options = rules ? { runOnly: rules } : { rules: Object.fromEntries(mild) };
  const { violations } = await axe.run(document, { ...options, resultTypes: ['violations'], preload: false });
  return violations;
}

// -------------------------------------------------------------------------------------------------- one page

async function readPage(context, path, options) {
  const page = await context.newPage();
  const report = { path, findings: [] };
  const find = (kind, text) => report.findings.push([kind, text]);
  page.on('request', (request) => /^(file|data|blob):/.test(request.url()) || find('request', request.url()));
  page.on('console', (message) => message.type() === 'error' && find('console', message.text().slice(0, 160)));
  page.on('pageerror', (error) => find('console', error.message.slice(0, 160)));
  await page.goto(pathToFileURL(path).href);
  await settle(page);

  const { findings, ...facts } = await page.evaluate(inspect);
  Object.assign(report, facts);
  report.findings.push(...findings);
  let shape;
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForFunction((s) => (document.documentElement.dataset.theme ?? s) === s, scheme, { timeout: 15000 }).catch(() => find('theme', `the page does not follow the ${scheme} scheme`));
    const before = shape;
    shape = await page.evaluate(shapeOf);
    for (const text of await axeFindings(page, options, shape === before)) find('axe', `${scheme}: ${text}`);
    await screenshot(page, options, path, scheme);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(NARROW);
  for (const text of await page.evaluate(overflowing)) find('overflow', text);
  await screenshot(page, options, path, 'narrow');
  await page.close();
  return report;
}

async function settle(page) {
  await page.evaluate(() => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(() => undefined)).catch(() => {});
  await page.addStyleTag({ content: '*, *::before, *::after { transition: none !important; animation: none !important }' });
}

/** What axe-core finds. Where only the colours have changed since the last look, it looks at the colours only. */
async function axeFindings(page, { axe, everyWord }, onlyColours) {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe);
  if (!everyWord) await page.evaluate(markAlike);
  const violations = await page.evaluate(lookWithAxe, onlyColours ? COLOUR_RULES : null);
  return violations
    .filter((v) => ['serious', 'critical'].includes(v.impact))
    .map((v) => `${v.id} (${v.nodes.length}) ${v.nodes[0].target.join(' ')} ${(v.nodes[0].any[0]?.message ?? '').slice(0, 120)}`);
}

async function screenshot(page, { screenshots, html }, path, kind) {
  if (!screenshots) return;
  const name = relative(html, path).replaceAll('/', '-').replace(/\.html$/, '');
  await page.screenshot({ path: join(screenshots, `${name}.${kind}.png`), fullPage: true });
}

// ------------------------------------------------------------------------------------------------- the book

function builtPages(html) {
  if (!existsSync(html)) return [];
  return readdirSync(html, { recursive: true })
    .map((name) => join(html, name))
    .filter((path) => path.endsWith('.html') && !path.includes('_static') && !/http-equiv="refresh"/i.test(readFileSync(path, 'utf8').slice(0, 2000)))
    .sort();
}

function deadLinks(reports) {
  const ids = new Map(reports.map((report) => [report.path, new Set(report.ids)]));
  for (const report of reports)
    for (const href of report.links) {
      const url = new URL(href);
      const target = fileURLToPath(`file://${url.pathname}`);
      const anchor = decodeURIComponent(url.hash.slice(1));
      if (!existsSync(target) || statSync(target).isDirectory()) report.findings.push(['link', `leads nowhere: ${href}`]);
      else if (anchor && ids.has(target) && !ids.get(target).has(anchor)) report.findings.push(['link', `no such place: ${href}`]);
    }
}

/** Types a query into the page's own search field and counts the hits. */
async function hits(context, page, query) {
  const tab = await context.newPage();
  await tab.goto(pathToFileURL(page).href);
  await tab.locator('.search-button__button').first().click();
  await tab.locator('input[type=search]:visible').first().fill(query);
  await tab.keyboard.press('Enter');
  await tab.waitForURL(/search\.html/);
  await tab.waitForFunction(() => /matching|did not match/.test(document.querySelector('#search-results')?.textContent ?? ''), null, { timeout: 5000 }).catch(() => {});
  const count = await tab.locator('#search-results ul.search > li').count();
  await tab.close();
  return count;
}

async function searchReport(context, html, pages) {
  const report = { path: join(html, 'search.html'), findings: [] };
  for (const query of [...FOUND_QUERIES, ABSENT_QUERY]) {
    const count = await hits(context, pages[0], query);
    const wrong = query === ABSENT_QUERY ? count > 0 : count === 0;
    if (wrong) report.findings.push(['search', `"${query}" has ${count} hits`]);
    console.log(`search "${query}": ${count} hits`);
  }
  return report;
}

function print(reports, html) {
  const width = Math.max(...reports.map((r) => relative(html, r.path).length), 4);
  console.log(`${'page'.padEnd(width)}  formulas  figures  links  findings`);
  for (const r of reports) {
    const numbers = [r.formulas, r.figures, r.links?.length].map((n, k) => String(n ?? '').padStart([8, 7, 5][k]));
    console.log(`${relative(html, r.path).padEnd(width)}  ${numbers.join('  ')}  ${r.findings.length || 'none'}`);
    for (const [kind, text] of r.findings.slice(0, SHOWN)) console.log(`    ${kind}: ${text}`);
  }
}

async function readBook(context, options) {
  const pages = builtPages(options.html);
  if (!pages.length) stop(`No page under ${options.html}; build the book first: make book`);
  const reports = await eachOfTwo(pages, (path) => readPage(context, path, options));
  deadLinks(reports);
  reports.push(await searchReport(context, options.html, pages));
  print(reports, options.html);
  const count = reports.reduce((sum, report) => sum + report.findings.length, 0);
  console.log(count ? `${count} findings on ${pages.length} pages` : `${pages.length} pages, no finding`);
  return count === 0;
}

/** Applies an asynchronous function to every item, two at a time, results in order. */
async function eachOfTwo(items, apply) {
  const results = new Array(items.length);
  let next = 0;
  const worker = async () => {
    for (let k; (k = next++) < items.length; ) results[k] = await apply(items[k]);
  };
  await Promise.all([worker(), worker()]);
  return results;
}

/** Each page in `broken/` says in a meta tag which finding it must cause; the check must see exactly that. */
async function selfTest(context, options) {
  const folder = join(HERE, 'broken');
  const pages = readdirSync(folder).filter((name) => name.endsWith('.html')).map((name) => join(folder, name));
  const reports = [];
  for (const path of pages) reports.push(await readPage(context, path, { ...options, screenshots: undefined }));
  deadLinks(reports);
  let clean = true;
  for (const report of reports) {
    const expected = /name="finding" content="([^"]*)"/.exec(readFileSync(report.path, 'utf8'))[1];
    const seen = [...new Set(report.findings.map(([kind]) => kind))].sort().join(' ');
    clean &&= seen === expected;
    console.log(`${seen === expected ? 'seen ' : 'MISSED'} ${basename(report.path)}: expected "${expected}", found "${seen}"`);
    if (seen !== expected) for (const [kind, text] of report.findings) console.log(`    ${kind}: ${text}`);
  }
  return clean;
}

// ---------------------------------------------------------------------------------------------------- run

const { values } = parseArgs({
  options: {
    html: { type: 'string', default: join(ROOT, '_build/html') },
    screenshots: { type: 'string' },
    'every-word': { type: 'boolean', default: false }, // slower: the contrast of alike words too
    'self-test': { type: 'boolean', default: false },
  },
});
const options = { html: resolve(values.html), screenshots: values.screenshots && resolve(values.screenshots), everyWord: values['every-word'] };
const playwright = await import(pathToFileURL(need('playwright-core')).href);
options.axe = readFileSync(need('axe-core'), 'utf8');
if (options.screenshots) mkdirSync(options.screenshots, { recursive: true });

const profile = mkdtempSync(join(tmpdir(), 'book-browser-'));
const started = Date.now();
const context = await (playwright.chromium ?? playwright.default.chromium).launchPersistentContext(profile, {
  executablePath: chromium(), headless: true, args: CHROMIUM_FLAGS, viewport: WIDE, colorScheme: 'light',
});
try {
  const clean = await (values['self-test'] ? selfTest : readBook)(context, options);
  console.log(`${((Date.now() - started) / 1000).toFixed(0)} s`);
  process.exitCode = clean ? 0 : 1;
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
