// Owns the build of core/web/static/: every script and style of our pages under hashed names, and manifest.json.
// Fails when a file is over its budget: at 250 kbit/s every 30 KB cost the viewer a second.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { compile } from 'sass';

const web = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(web));
const player = join(root, 'player');
const output = join(web, 'static');
const hls = join(root, 'node_modules', 'hls.js');
const hlsVersion = JSON.parse(readFileSync(join(hls, 'package.json'))).version;
const absent = join(player, 'engine', 'absent.js');
const target = 'es2020'; // Android phones that are no longer updated stop near Chrome 80

// hls.js modules that only read containers other than fMP4, need a worker, or need a package we do without
const LEFT_OUT = /\/(tsdemuxer|aacdemuxer|mp3demuxer|ac3-demuxer|inject-worker|cmcd-controller)$/;

const FEATURES = {
  ALT_AUDIO: true, // our audio is a rendition of its own (Apple 9.5): without this the picture is silent
  CMCD: false,
  CONTENT_STEERING: false,
  EME_DRM: false,
  IFRAMES: false,
  INTERSTITIALS: false,
  M2TS_ADVANCED_CODECS: false,
  MEDIA_CAPABILITIES: false,
  SUBTITLES: false,
  VARIABLE_SUBSTITUTION: false,
};

const engineDefines = {
  __VERSION__: JSON.stringify(hlsVersion),
  __IN_WORKER__: 'false',
  __HLS_WORKER_BUNDLE__: 'undefined',
  ...Object.fromEntries(Object.entries(FEATURES).map(([name, on]) => [`__USE_${name}__`, String(on)])),
};

const leaveOut = {
  name: 'leave-out',
  setup(plugin) {
    plugin.onResolve({ filter: LEFT_OUT }, () => ({ path: absent }));
    // the fMP4 path borrows two functions from this module, but only the transmuxer's table holds on to its class
    plugin.onResolve({ filter: /\/mp4-remuxer$/ }, ({ importer }) =>
      importer.endsWith('transmuxer.ts') ? { path: absent } : undefined,
    );
  },
};

// hls.js is written for assigned, not defined, class fields (its own build compiles them so).
const tsconfigRaw = { compilerOptions: { useDefineForClassFields: false } };

const common = { bundle: true, minify: true, write: false, charset: 'utf8', legalComments: 'none', logLevel: 'warning' };
const module_ = { ...common, format: 'esm', target };

const ASSETS = [
  {
    name: 'engine.js',
    budget: { brotli: 100 * 1024 },
    options: { ...module_, entryPoints: [join(hls, 'src', 'hls.ts')], define: engineDefines, plugins: [leaveOut], tsconfigRaw },
    banner: `/*! hls.js ${hlsVersion}, Apache-2.0, fMP4 parts only */\n`,
  },
  {
    name: 'player.js',
    budget: { gzip: 12 * 1024 },
    options: { ...module_, entryPoints: [join(player, 'shell', 'main.js')] },
  },
  {
    name: 'player.css',
    budget: { gzip: 5 * 1024 },
    options: { ...common, target, entryPoints: [join(player, 'styles', 'player.css')] },
  },
  {
    name: 'base.css',
    budget: { gzip: 4 * 1024 },
    options: { ...common, target, entryPoints: [join(web, 'styles', 'base.css')] },
  },
  {
    name: 'staff.css',
    budget: { gzip: 14 * 1024 },
    sass: join(web, 'styles', 'staff.scss'),
    banner: '/*! GOV.UK Frontend, MIT */\n',
  },
  {
    name: 'console.css',
    budget: { gzip: 3 * 1024 },
    options: { ...common, target, entryPoints: [join(root, 'ingest', 'console', 'styles', 'console.css')] },
  },
  {
    name: 'console.js',
    budget: { gzip: 30 * 1024 },
    options: { ...module_, entryPoints: [join(root, 'ingest', 'console', 'scripts', 'console.js')] },
  },
  {
    name: 'imports.js',
    budget: { gzip: 5 * 1024 },
    options: { ...module_, entryPoints: [join(root, 'archive', 'imports', 'scripts', 'imports.js')] },
  },
  {
    name: 'exports.js',
    budget: { gzip: 2 * 1024 },
    options: { ...module_, entryPoints: [join(root, 'archive', 'exports', 'scripts', 'exports.js')] },
  },
  {
    name: 'archive.css',
    budget: { gzip: 2.5 * 1024 },
    options: { ...common, target, entryPoints: [join(root, 'archive', 'styles', 'archive.css')] },
  },
  {
    name: 'verify.js',
    budget: { gzip: 3 * 1024 },
    options: { ...module_, entryPoints: [join(root, 'archive', 'scripts', 'verify.js')] },
  },
  {
    name: 'staff.js',
    budget: { gzip: 8 * 1024 },
    options: { ...module_, entryPoints: [join(web, 'scripts', 'staff.js')] },
  },
];

async function bytesOf({ options, sass, banner = '' }) {
  if (sass) {
    const { css } = compile(sass, { style: 'compressed', loadPaths: [join(root, 'node_modules')], quietDeps: true });
    return Buffer.from(banner + css);
  }
  const result = await build(options);
  return Buffer.concat([Buffer.from(banner), result.outputFiles[0].contents]);
}

function compressed(bytes) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return { gzip: gzipSync(bytes, { level: 9 }), brotli: brotliCompressSync(bytes, { params }) };
}

function hashedName(name, bytes) {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
  return name.replace('.', `-${hash}.`);
}

function checkBudget({ name, budget }, packed) {
  for (const [coding, limit] of Object.entries(budget)) {
    const size = packed[coding].length;
    if (size > limit) throw new Error(`${name} is ${size} bytes in ${coding}, over its budget of ${limit}`);
  }
}

// files of earlier builds stay: a server that runs goes on serving them until it starts anew
mkdirSync(output, { recursive: true });
const manifest = {};
for (const asset of ASSETS) {
  const bytes = await bytesOf(asset);
  const packed = compressed(bytes);
  checkBudget(asset, packed);
  const file = hashedName(asset.name, bytes);
  manifest[asset.name] = file;
  writeFileSync(join(output, file), bytes);
  writeFileSync(join(output, `${file}.gz`), packed.gzip);
  writeFileSync(join(output, `${file}.br`), packed.brotli);
  console.log(`${file}  ${bytes.length} bytes, gzip ${packed.gzip.length}, brotli ${packed.brotli.length}`);
}
writeFileSync(join(output, 'manifest.json'), JSON.stringify(manifest, null, 2) + '\n');
