// Says what SQL Cube makes of models and queries. It reads {models: [{name, files: [{fileName, content}], cases: [{name,
// context, query}]}]} from standard input, where a query is as Cube's gateway normalizes it, and writes {version, models:
// [{name, error, meta, cases: [{name, sql, args, totalSQL, totalArgs, error}]}]}.
//
// The planner is the one in JavaScript. The native part of Cube, which npm does not carry, is the other planner and the
// Jinja engine: the models here are no templates, and the engine is replaced by one that would fail.
process.env.CUBEJS_TESSERACT_SQL_PLANNER = 'false';
process.env.TZ = 'UTC';
console.log = console.warn = console.error; // standard output is the answer's
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const { NativeInstance } = require('@cubejs-backend/native');
NativeInstance.prototype.newJinjaEngine = () => ({});
const { prepareCompiler, PostgresQuery } = require('@cubejs-backend/schema-compiler');
const { version } = require('@cubejs-backend/schema-compiler/package.json');

const words = (e) => String(e.plainMessages || e.message || e).trim();

async function compiled(model) {
  const repository = { localPath: () => '/', dataSchemaFiles: async () => model.files };
  const compilers = prepareCompiler(repository, { standalone: true });
  await compilers.compiler.compile();
  const plan = (query, context) => {
    const statement = new PostgresQuery(compilers, {
      ...query, allowUngroupedWithoutPrimaryKey: true, convertTzForRawTimeDimension: true, contextSymbols: { securityContext: context },
    });
    statement.preAggregations.findPreAggregationForQuery = () => undefined; // nothing is built, so the source answers
    return statement.buildSqlAndParams();
  };
  return { plan, meta: compilers.metaTransformer.cubes.map((c) => c.config) };
}

function asked(plan, { name, query, context }) {
  try {
    const [sql, args] = plan(query, context);
    const answer = { name, sql, args };
    if (query.total) { // as the gateway does it
      const { order, limit, rowLimit, offset, ...rest } = query;
      [answer.totalSQL, answer.totalArgs] = plan({ ...rest, totalQuery: true, rowLimit: null, limit: null, offset: null }, context);
    }
    return answer;
  } catch (e) {
    return { name, error: words(e) };
  }
}

const models = [];
for (const model of JSON.parse(readFileSync(0, 'utf8')).models) {
  try {
    const { plan, meta } = await compiled(model);
    models.push({ name: model.name, meta, cases: model.cases.map((c) => asked(plan, c)) });
  } catch (e) {
    models.push({ name: model.name, error: words(e), cases: [] });
  }
}
process.stdout.write(JSON.stringify({ version, models }), () => process.exit(0)); // Cube leaves timers behind
