// A published client of Cube asks a running server, and checks what it makes of the answers. CLIENT is JSON: {url, token,
// package}, where package is one of package.json. It prints "ok" or "failed" and the name of each check that the client
// can make. The model is that of cubeclient.go.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { url, token, package: client } = JSON.parse(process.env.CLIENT);
const { default: cube } = createRequire(import.meta.url)(client);
const old = client === 'cubejs-client-core-of-old';
const api = cube(token, { apiUrl: `${url}/cubejs-api/v1`, pollInterval: 0.05 });

const byStatus = { measures: ['sales.count', 'sales.total'], dimensions: ['sales.status'], order: { 'sales.status': 'asc' } };
const byDay = {
  measures: ['sales.count'],
  timeDimensions: [{ dimension: 'sales.sold_at', granularity: 'day', dateRange: ['2024-03-01', '2024-03-04'] }],
};

const checks = {
  async load() {
    const set = await api.load(byStatus);
    assert.deepEqual(set.rawData(), [
      { 'sales.status': 'done', 'sales.count': '3', 'sales.total': '61.50' },
      { 'sales.status': 'open', 'sales.count': '1', 'sales.total': '100.00' },
      { 'sales.status': 'void', 'sales.count': '1', 'sales.total': null },
    ]);
    assert.equal(set.query().limit, 10000);
    assert.equal(set.annotation().measures['sales.total'].title, 'Sales Total');
    assert.deepEqual(set.seriesNames().map((s) => s.key), ['sales.count', 'sales.total']);
  },
  async 'load by POST, and by a token that is fetched'() {
    const set = await cube(async () => token, { apiUrl: `${url}/cubejs-api/v1`, method: 'POST' }).load(byStatus);
    assert.equal(set.rawData().length, 3);
  },
  async 'numbers are cast on request'() {
    const set = await api.load(byStatus, { castNumerics: true });
    assert.deepEqual(set.rawData().map((r) => r['sales.total']), [61.5, 100, null]);
  },
  async compact() {
    assert.deepEqual((await api.load(byStatus, {}, undefined, 'compact')).rawData(), (await api.load(byStatus)).rawData());
  },
  async columnar() {
    assert.deepEqual((await api.load(byStatus, {}, undefined, 'columnar')).rawData(), (await api.load(byStatus)).rawData());
  },
  async 'the total of rows'() {
    const set = await api.load({ ...byStatus, limit: 1, total: true });
    assert.equal(set.rawData().length, 1);
    assert.equal(set.totalRows(), 3);
  },
  async tablePivot() {
    const set = await api.load(byStatus);
    assert.deepEqual(set.tablePivot()[0], { 'sales.status': 'done', 'sales.count': '3', 'sales.total': '61.50' });
    assert.deepEqual(set.tableColumns().map((c) => c.title), ['Sales Status', 'Sales Count', 'Sales Total']);
    const pivoted = (await api.load({ ...byStatus, dimensions: ['sales.status', 'sales.region'] }))
      .tablePivot({ x: ['sales.region'], y: ['sales.status', 'measures'] });
    const eu = pivoted.find((r) => r['sales.region'] === 'eu');
    assert.equal(eu['done,sales.count'], '2');
    assert.equal(eu['open,sales.count'], '1');
  },
  async 'chartPivot fills the dates that are missing'() {
    const set = await api.load(byDay);
    assert.deepEqual(set.chartPivot().map((r) => [r.x, r['sales.count']]), [
      ['2024-03-01T00:00:00.000', 2], ['2024-03-02T00:00:00.000', 1], ['2024-03-03T00:00:00.000', 0], ['2024-03-04T00:00:00.000', 2],
    ]);
    assert.deepEqual(set.series()[0].series.map((p) => p.value), [2, 1, 0, 2]);
  },
  async 'comparison of date ranges'() {
    const set = await api.load({
      measures: ['sales.count'],
      timeDimensions: [{ dimension: 'sales.sold_at', granularity: 'day', compareDateRange: [['2024-03-01', '2024-03-02'], ['2024-03-03', '2024-03-04']] }],
    });
    assert.equal(set.decompose().length, 2);
    assert.deepEqual(set.series().map((s) => s.series.map((p) => p.value)), [[2, 1], [0, 2]]);
  },
  async 'multi-query'() {
    const set = await api.load([byDay, { ...byDay, filters: [{ member: 'sales.status', operator: 'equals', values: ['done'] }] }]);
    assert.deepEqual(set.decompose().map((s) => s.rawData().map((r) => r['sales.count'])), [['2', '1', '2'], ['1', '1', '1']]);
    assert.equal(set.chartPivot().length, 4);
  },
  async drillDown() {
    const set = await api.load(byStatus);
    const query = set.drillDown({ xValues: ['done'], yValues: ['sales.count'] });
    assert.deepEqual(query.dimensions, ['sales.id', 'sales.region']);
    const rows = (await api.load({ ...query, order: { 'sales.id': 'asc' } })).rawData();
    assert.deepEqual(rows.map((r) => [r['sales.id'], r['sales.region']]), [['1', 'eu'], ['2', 'eu'], ['4', 'us']]);
    const day = await api.load(byDay);
    const ofDay = day.drillDown({ xValues: ['2024-03-01T00:00:00.000'], yValues: ['sales.count'] });
    assert.deepEqual((await api.load(ofDay)).rawData().map((r) => r['sales.id']).sort(), ['1', '3']);
  },
  async 'a result that was stored'() {
    const set = await api.load([byDay, byDay]);
    const again = set.constructor.deserialize(JSON.parse(JSON.stringify(set.serialize())));
    assert.deepEqual(again.chartPivot(), set.chartPivot());
    assert.deepEqual(again.tableColumns(), set.tableColumns());
  },
  async 'a query of nulls, as query builders send it'() {
    const set = await api.load({ ...byStatus, filters: [], segments: [], timeDimensions: [], timezone: null, limit: 2, offset: 0, order: [['sales.status', 'asc']] });
    assert.deepEqual(set.rawData().map((r) => r['sales.status']), ['done', 'open']);
  },
  async sql() {
    const query = await api.sql({ ...byStatus, filters: [{ member: 'sales.region', operator: 'equals', values: ["e'u"] }] });
    assert.match(query.sql(), /^SELECT/);
    assert.ok(!query.sql().includes("e'u"));
    assert.ok(query.rawQuery().sql[1].includes("e'u"));
    assert.equal((await api.sql([byDay, byDay])).length, 2);
  },
  async dryRun() {
    const { queryType, normalizedQueries, pivotQuery } = await api.dryRun(byDay);
    assert.equal(queryType, 'regularQuery');
    assert.deepEqual(normalizedQueries[0].timeDimensions[0].dateRange, ['2024-03-01T00:00:00.000', '2024-03-04T23:59:59.999']);
    assert.equal(pivotQuery.queryType, 'regularQuery');
    assert.equal((await api.dryRun([byDay, byDay])).queryType, 'blendingQuery');
  },
  async meta() {
    const meta = await api.meta();
    assert.equal(meta.resolveMember('sales.total', 'measures').title, 'Sales Total');
    assert.equal(meta.defaultTimeDimensionNameFor('sales.count'), 'sales.sold_at');
    assert.deepEqual(meta.filterOperatorsForMember('sales.status', ['dimensions']).map((o) => o.name).slice(0, 2), ['contains', 'notContains']);
    assert.ok(meta.membersForQuery({}, 'dimensions').some((m) => m.name === 'sales.region'));
    assert.equal(meta.resolveMember('sales.nothing', 'measures').error, "Path not found 'sales.nothing'");
  },
  async 'meta of views'() {
    assert.deepEqual((await api.meta({ onlyViews: true })).cubes.map((c) => c.name), ['sold']);
  },
  async 'an error is a RequestError with its status'() {
    await assert.rejects(api.load({ measures: ['sales.nothing'] }), (e) => {
      assert.equal(e.status, 400);
      assert.equal(e.message, "'nothing' not found for path 'sales.nothing'");
      return true;
    });
    await assert.rejects(cube('nobody', { apiUrl: `${url}/cubejs-api/v1` }).meta(), (e) => e.status === 403 && e.message === 'Invalid token');
  },
  async 'subscribe over HTTP'() {
    let updates = 0;
    await new Promise((resolve, reject) => {
      const subscription = api.subscribe(byStatus, {}, (error, set) => {
        if (error) return reject(error);
        if (set.rawData().length !== 3) return reject(new Error(JSON.stringify(set.rawData())));
        updates += 1;
        if (updates === 3) subscription.unsubscribe().then(resolve, reject);
        return undefined;
      });
    });
    assert.equal(updates, 3);
  },
  async progressCallback() {
    const seen = [];
    const set = await api.load({ measures: ['slow_sales.count'], limit: old ? 1 : 2 }, { progressCallback: (p) => seen.push([p.stage(), p.timeElapsed()]) });
    assert.deepEqual(set.rawData(), [{ 'slow_sales.count': '1' }]);
    assert.ok(seen.length > 0, 'nobody told how far it was');
    for (const [stage, elapsed] of seen) {
      assert.equal(typeof stage, 'string');
      assert.equal(typeof elapsed, 'number');
    }
  },
  async 'mutex: only the last of two is answered'() {
    const mutexObj = {};
    const first = api.load(byStatus, { mutexObj, mutexKey: 'query' });
    const second = api.load(byDay, { mutexObj, mutexKey: 'query' });
    assert.equal((await second).rawData().length, 3);
    const never = 'nothing';
    const settled = new Promise((resolve) => { setTimeout(resolve, 200, never); }); // which 0.35 never does
    assert.equal(await Promise.race([first, settled]), old ? never : null);
  },
  async 'abort ends the request'() {
    const controller = new AbortController();
    const answer = api.load({ measures: ['slower_sales.count'] }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 200);
    await assert.rejects(answer, (e) => e.message === 'aborted');
  },
};

// The latest client over a WebSocket: a transport of its own package, published beside it.
const overWebSocket = {
  async 'over a WebSocket: load, sql, dryRun and meta'() {
    await withWebSocket(async (ws) => {
      const [set, sql, { queryType }, meta] = await Promise.all([ws.load(byStatus), ws.sql(byStatus), ws.dryRun(byDay), ws.meta()]);
      assert.deepEqual(set.rawData(), (await api.load(byStatus)).rawData());
      assert.match(sql.sql(), /^SELECT/);
      assert.equal(queryType, 'regularQuery');
      assert.equal(meta.resolveMember('sales.total', 'measures').title, 'Sales Total');
      assert.deepEqual((await ws.meta({ onlyViews: true })).cubes.map((c) => c.name), ['sold']);
    });
  },
  async 'over a WebSocket: a query that takes long'() {
    await withWebSocket(async (ws) => {
      const seen = [];
      const set = await ws.load({ measures: ['slow_sales.count'], limit: 3 }, { progressCallback: (p) => seen.push(p.stage()) });
      assert.deepEqual(set.rawData(), [{ 'slow_sales.count': '1' }]);
      assert.ok(seen.length > 0, 'nobody told how far it was');
    });
  },
  async 'over a WebSocket: an error is a RequestError with its status'() {
    await withWebSocket((ws) => assert.rejects(ws.load({ measures: ['sales.nothing'] }), (e) => e.status === 400 && /not found for path/.test(e.message)));
  },
  async 'over a WebSocket: subscribe'() {
    await withWebSocket(async (ws) => {
      const set = await new Promise((resolve, reject) => {
        const subscription = ws.subscribe(byStatus, {}, (error, result) => {
          if (error) return reject(error);
          return subscription.unsubscribe().then(() => resolve(result), reject);
        });
      });
      assert.equal(set.rawData().length, 3);
    });
  },
};

// SELECTs, which version 0.35 does not have either.
const inSQL = {
  async 'cubeSql'() {
    const { schema, data } = await api.cubeSql("SELECT status, MEASURE(total) AS sum, COUNT(*) FROM sales WHERE region = 'eu' GROUP BY 1 ORDER BY 1");
    assert.deepEqual(schema, [
      { name: 'status', column_type: 'String' }, { name: 'sum', column_type: 'Double' }, { name: 'count', column_type: 'Int64' },
    ]);
    assert.deepEqual(data, [['done', '30.50', '2'], ['open', '100.00', '1']]);
    assert.deepEqual((await api.cubeSql("SELECT status FROM sales WHERE status = 'nothing' GROUP BY 1")).data, []);
  },
  async 'cubeSql: a query that takes long'() {
    const seen = [];
    const { data } = await api.cubeSql('SELECT MEASURE(count) FROM slow_sales LIMIT 7', { progressCallback: (p) => seen.push(p.stage()) });
    assert.deepEqual(data, [['1']]);
  },
  async 'cubeSql: an error is told'() {
    await assert.rejects(api.cubeSql('SELECT nothing FROM sales'), (e) => /Line 1, column 8/.test(e.message));
  },
  async cubeSqlStream() {
    const chunks = [];
    for await (const chunk of api.cubeSqlStream('SELECT id, sold_at FROM sales ORDER BY id LIMIT 2')) chunks.push(chunk);
    assert.deepEqual(chunks.filter((c) => c.type === 'schema').map((c) => c.schema.map((s) => s.name)), [['id', 'sold_at']]);
    assert.deepEqual(chunks.filter((c) => c.type === 'data').flatMap((c) => c.data), [['1', '2024-03-01T08:00:00.000'], ['2', '2024-03-02T09:00:00.000']]);
  },
};

async function withWebSocket(check) {
  const WebSocketTransport = createRequire(import.meta.url)('@cubejs-client/ws-transport');
  const transport = new WebSocketTransport({ authorization: token, apiUrl: `${url.replace('http', 'ws')}/` });
  try {
    await check(cube(token, { transport, pollInterval: 0.05 }));
  } finally {
    await transport.close();
  }
}
if (!old) Object.assign(checks, inSQL, overWebSocket);

// What version 0.35 does not have.
if (old) ['columnar', 'meta of views', 'abort ends the request'].forEach((name) => delete checks[name]);

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
  } catch (e) {
    console.log(`failed ${name}`);
    console.error(`${name}: ${e.stack}\n${JSON.stringify(e.response)}`);
    continue;
  }
  console.log(`ok ${name}`);
}
process.exit(0);
