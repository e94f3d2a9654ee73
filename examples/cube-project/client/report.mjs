import cube from '@cubejs-client/core';

const api = cube(process.env.TOKEN, { apiUrl: process.env.API_URL });

const sales = await api.load({ measures: ['orders.count', 'orders.total'], dimensions: ['orders.status'] });
for (const row of sales.tablePivot()) {
  console.log(row['orders.status'], row['orders.count'], row['orders.total']);
}
